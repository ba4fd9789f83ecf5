"""Rows of the stream as the tables that the data source would return, made fast: one comes with each bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_CHUNK = 2_048


class Frames:
    """Makes tables of given columns; `contract` is the dtype of that column, empty where there is none."""

    def __init__(self, columns: Sequence[str], contract: str) -> None:
        self.columns, self.contract = list(columns), contract
        self._floats = [at for at, name in enumerate(columns) if name != "contract"]
        self._named = self.columns.index("contract") if contract else -1
        self._chunks: dict[tuple[str, ...], tuple[NDArray[np.float64], pd.DataFrame]] = {}
        """contracts side by side -> memory, and the table over it, whose first rows are given away already."""
        self._given: dict[tuple[str, ...], int] = {}

    def one(self, start: int, rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
        """Return the table of one bar start, UTC ns."""
        if not rows:
            return self.whole([], [[] for _ in self.columns])
        names = tuple(row[self._named] for row in rows) if self.contract else ("",) * len(rows)
        at = self._given.get(names, _CHUNK)
        if at + len(rows) > _CHUNK:
            self._chunks[names], at = self._chunk(names), 0
        memory, table = self._chunks[names]
        memory[at : at + len(rows)] = [[row[column] for column in self._floats] for row in rows]
        self._given[names] = at + len(rows)
        return table.iloc[at : at + len(rows)].set_axis(self._index([start] * len(rows)))

    def whole(self, times: Sequence[int], columns: Sequence[Sequence[Any]]) -> pd.DataFrame:
        """Return the table of many rows, given by column."""
        import numpy as np
        import pandas as pd

        made: dict[str, Any] = {}
        for name, values in zip(self.columns, columns, strict=True):
            named = name == "contract"
            made[name] = self._contracts(list(values)) if named else np.array(values, np.float64)
        return pd.DataFrame(made, index=self._index(times))

    def _chunk(self, names: tuple[str, ...]) -> tuple[NDArray[np.float64], pd.DataFrame]:
        import numpy as np
        import pandas as pd

        memory = np.zeros((_CHUNK, len(self._floats)))
        table = pd.DataFrame(memory, columns=[self.columns[at] for at in self._floats], copy=False)
        if self.contract:
            repeated = list(names) * (_CHUNK // len(names) + 1)
            table.insert(self._named, "contract", self._contracts(repeated[:_CHUNK]))
        return memory, table

    def _contracts(self, names: list[str]) -> Any:
        import pandas as pd

        kind: Any = self.contract
        return pd.array(names, dtype=kind)

    @staticmethod
    def _index(times: Sequence[int]) -> pd.DatetimeIndex:
        import numpy as np
        import pandas as pd

        return pd.DatetimeIndex(np.array(times, "M8[ns]"), tz="UTC", name="time")
