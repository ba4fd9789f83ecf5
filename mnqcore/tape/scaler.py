"""Features on one scale: the mean and deviation of the training bars, and nothing of any later one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CLIP = 10.0
_CONSTANT = 1e-12
"""Share of a column's largest value: a deviation of so little is what rounding leaves of none."""
_KEYS = ("names", "mean", "deviation")
_AGAIN = "train the model again"


@attrs.frozen(eq=False)
class Scaler:
    """What features are scaled by: `mean` and `deviation`, float64 (n,), of the columns called `names`.

    A column that was constant where the scaler was fitted has a deviation of 1.0: it is 0 there, and elsewhere as far
    from its constant as it is.
    """

    names: tuple[str, ...]
    mean: Floats
    deviation: Floats

    @classmethod
    def fit(cls, features: pd.DataFrame, rows: slice) -> Scaler:
        """Return the scaler of a stretch of bars; each column counts where it is finite, no other row is read.

        Args:
            features: float columns, a row a bar.
            rows: positions of the bars to fit on.

        Raises:
            DataError: a column has no finite value among them.
        """
        known = features.iloc[rows]
        fitted = [_fitted(str(name), known.iloc[:, at].to_numpy(np.float64)) for at, name in enumerate(known.columns)]
        mean, deviation = np.array(fitted, np.float64).reshape(-1, 2).T.copy()
        return cls(_names(features), mean, deviation)

    def __call__(self, features: pd.DataFrame) -> NDArray[np.float32]:
        """Return features scaled and clipped to +-10, float32 (bars, n) in C order; NaN stays NaN.

        Raises:
            DataError: the columns are not the scaler's, in its order.
        """
        self._refuse_others(_names(features))
        scaled = np.empty(features.shape, np.float32)
        with np.errstate(over="ignore"):  # what is infinite is clipped
            for at, (mean, deviation) in enumerate(zip(self.mean, self.deviation, strict=True)):
                column = (features.iloc[:, at].to_numpy(np.float64) - mean) / deviation
                scaled[:, at] = np.clip(column, -_CLIP, _CLIP, out=column)
        return scaled

    def to_json(self) -> dict[str, Any]:
        """Return the scaler as a JSON object: `names`, `mean` and `deviation`; `from_json` gives the same back."""
        return {"names": list(self.names), "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_json(cls, document: object) -> Scaler:
        """Return the scaler that `to_json` wrote.

        Raises:
            DataError: a key is missing or unknown, a number is not finite, a deviation not above 0, a length differs.
        """
        if not isinstance(document, dict) or document.keys() != set(_KEYS):
            keys = ", ".join(map(str, document)) if isinstance(document, dict) else type(document).__name__
            raise _unsound(f"keys {', '.join(_KEYS)} are wanted, was {keys or 'none'}")
        names = document["names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _unsound("names must be an array of strings")
        if len(set(names)) < len(names):
            raise _unsound("names must differ from each other")
        mean, deviation = (_numbers(key, document[key], len(names)) for key in _KEYS[1:])
        if not (deviation > 0).all():
            raise _unsound("a deviation must be above 0")
        return cls(tuple(names), mean, deviation)

    def _refuse_others(self, names: tuple[str, ...]) -> None:
        if names == self.names:
            return
        lacking = [name for name in self.names if name not in names]
        further = [name for name in names if name not in self.names]
        found = [f"missing: {', '.join(lacking)}"] if lacking else []
        found += [f"unknown: {', '.join(further)}"] if further else []
        raise DataError(
            "the features are not those that the model was trained on",
            found="; ".join(found) or f"another order: {', '.join(names)}",
            next=f"give these columns in this order: {', '.join(self.names)}",
        )


class Hole(DataError):
    """A feature lacks a value in the midst; `column` names it."""

    column: str = ""


def first_complete(features: pd.DataFrame, excused: NDArray[np.bool_] | None = None) -> int:
    """Return the first bar from which every column is finite; what lies before is history that cannot be seen whole.

    Args:
        features: float columns on the times of the bars.
        excused: bool (bars,), later bars that may lack a value: those of a feed are missing; None excuses none.

    Raises:
        DataError: a column never has a value.
        Hole: one lacks a value after that bar; names the column and the bar's time.
    """
    finite = np.isfinite(features.to_numpy(np.float64))
    never = np.flatnonzero(~finite.any(axis=0))
    if len(never):
        raise DataError(
            "a feature has no value at any bar",
            where=str(features.columns[never[0]]),
            found=f"{len(features)} bars",
            next="take more bars than its warm-up, or drop the feature",
        )
    first = int(finite.argmax(axis=0).max(initial=0))
    if excused is not None:
        finite |= excused[:, None]
    holes = np.argwhere(~finite[first:])
    if len(holes):
        bar, column = first + int(holes[0][0]), int(holes[0][1])
        hole = Hole(
            "a feature has no value at a bar after its first ones",
            where=f"{features.columns[column]} of the bar at {features.index[bar]}",
            found=str(features.iat[bar, column]),
            next="mend the feature set: only bars at the start may be without a value",
        )
        hole.column = str(features.columns[column])
        raise hole
    return first


def _fitted(name: str, values: Floats) -> tuple[float, float]:
    """Return mean and deviation of the finite values of a column."""
    values = values[np.isfinite(values)]
    if not len(values):
        raise DataError(
            "a feature has no value to train on", where=name, next="train on more bars, or drop the feature"
        )
    largest = float(np.abs(values).max())
    if largest == 0:
        return 0.0, 1.0
    relative = values / largest  # so that no square overflows, and the mean of equal values is exact
    spread = float(relative.std())
    return float(relative.mean()) * largest, spread * largest if spread > _CONSTANT else 1.0


def _names(features: pd.DataFrame) -> tuple[str, ...]:
    return tuple(map(str, features.columns))


def _numbers(key: str, values: object, count: int) -> Floats:
    if not isinstance(values, list) or not all(type(value) is float for value in values):
        raise _unsound(f"{key} must be an array of numbers with decimals")
    if len(values) != count:
        raise _unsound(f"{key} must have {count} numbers, one a name, was {len(values)}")
    numbers = np.array(values, np.float64)
    if not np.isfinite(numbers).all():
        raise _unsound(f"{key} must be finite")
    return numbers


def _unsound(wrong: str) -> DataError:
    return DataError("the scaler of a model is not sound", found=wrong, next=_AGAIN)
