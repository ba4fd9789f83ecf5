"""The bars so far, in order of time: cheap to add to, and a table when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

_ROOM = 1024  # rows, at first


class History:
    """Rows that were accepted: never changed, only added to.

    `columns`: all but `contract`, in order. `named`: whether rows name a contract.
    """

    def __init__(self, bars: pd.DataFrame) -> None:
        """Begin with bars of the agreed shape; they are copied, and what columns they have holds from then on."""
        import pandas as pd

        index = pd.DatetimeIndex(bars.index).as_unit("ns")
        self.columns = tuple(str(name) for name in bars.columns if name != "contract")
        self.named = "contract" in bars
        self._order = [str(name) for name in bars.columns]
        self._kind = _text_kind(bars)
        self._count = len(bars)
        room = self._count + _ROOM
        self._times = np.zeros(room, np.int64)
        self._values = np.zeros((len(self.columns), room))
        self._contracts: NDArray[np.object_] = np.full(room, "", dtype=object)
        self._times[: self._count] = index.asi8
        for row, name in zip(self._values, self.columns, strict=True):
            row[: self._count] = bars[name].to_numpy(np.float64)
        if self.named:
            self._contracts[: self._count] = bars["contract"].to_numpy(dtype=object)

    def __len__(self) -> int:
        return self._count

    @property
    def newest(self) -> int | None:
        """The latest bar start, UTC ns."""
        return int(self._times[self._count - 1]) if self._count else None

    @property
    def contracts(self) -> list[str]:
        """The contracts named so far, each once, in the order in which they first appear."""
        return list(dict.fromkeys(self._contracts[: self._count].tolist())) if self.named else []

    def find(self, time: int, contract: str) -> dict[str, float] | None:
        """Return the row of a bar start and contract, column -> value, if there is one."""
        times = self._times[: self._count]
        first, last = np.searchsorted(times, time), np.searchsorted(times, time, side="right")
        for row in range(int(first), int(last)):
            if self._contracts[row] == contract:
                return dict(zip(self.columns, self._values[:, row].tolist(), strict=True))
        return None

    def add(self, time: int, contract: str, row: Mapping[str, float]) -> None:
        """Add a row no older than the newest; columns that no row had are left out."""
        if self._count == len(self._times):
            self._grow()
        self._times[self._count] = time
        self._values[:, self._count] = [row[name] for name in self.columns]
        self._contracts[self._count] = contract
        self._count += 1

    def frame(self, start: int | None = None) -> pd.DataFrame:
        """Return the rows from a bar start on, in the shape that bars have; a copy."""
        import pandas as pd

        first = 0 if start is None else int(np.searchsorted(self._times[: self._count], start))
        part = slice(first, self._count)
        index = pd.DatetimeIndex(self._times[part].copy().view("M8[ns]"), name="time").tz_localize("UTC")
        columns: dict[str, Any] = {name: row[part].copy() for name, row in zip(self.columns, self._values, strict=True)}
        if self.named:
            columns["contract"] = pd.Series(self._contracts[part].copy(), index=index, dtype=self._kind)
        return pd.DataFrame({name: columns[name] for name in self._order}, index=index)

    def _grow(self) -> None:
        room = len(self._times)  # doubled, so that a row costs the same however many there are
        self._times = np.append(self._times, np.zeros(room, np.int64))
        self._values = np.append(self._values, np.zeros((len(self.columns), room)), axis=1)
        self._contracts = np.append(self._contracts, np.full(room, "", dtype=object))


def empty_bars() -> pd.DataFrame:
    """Return no bars, in the agreed shape."""
    import pandas as pd

    index = pd.DatetimeIndex(np.zeros(0, "M8[ns]"), name="time").tz_localize("UTC")
    return pd.DataFrame({name: np.zeros(0) for name in ("open", "high", "low", "close", "volume")}, index=index)


def _text_kind(bars: pd.DataFrame) -> Any:
    """Return the type of the column of contracts; categories would lose a contract that comes later."""
    kind = bars["contract"].dtype if "contract" in bars else object
    return object if getattr(kind, "name", "") == "category" else kind
