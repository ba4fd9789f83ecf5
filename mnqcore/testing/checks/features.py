"""What feature sets keep to, on every market."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.testing.checks.causal import compute_of, peeking
from mnqcore.testing.market import SHAPES
from mnqcore.testing.mistakes import NOT_FINITE, likely
from mnqcore.testing.verdict import Fault, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from mnqcore.testing.subject import Subject

_OTHERS: tuple[dict[str, Any], ...] = (
    {"bars": 2},
    {"bars": 40},
    {"shape": "no movement"},
    {"instrument": "ES", "bar_size": "15min", "bars": 900},
)
"""Markets on which the columns must be the same."""


@check("same columns", "features")
def same_columns(subject: Subject) -> Iterator[Fault]:
    """The columns, and their types, are the same on every market and every length of history."""
    usual = _columns(subject.build().compute(subject.view()))
    for other in _OTHERS:
        found = _columns(subject.build().compute(subject.view(**other)))
        if found != usual:
            yield Fault(f"the columns are {_text(usual)}, but {_text(found)} on {_words(other)}", subject.place())


def survives(shape: str) -> None:
    """Write down that a feature set survives a market."""

    @check(
        f"survives {shape}", "features",
        rule=f"Every value after the warm-up is finite on {SHAPES[shape]}, with a roll.",
    )  # fmt: skip
    def survived(subject: Subject) -> Iterator[Fault]:
        known = set() if shape == "usual" else {column for column, _ in _not_finite(subject, "usual")}
        found = [one for one in _not_finite(subject, shape) if one[0] not in peeking(subject)]
        if found and all(column in known for column, _ in found):
            raise NotAsked("it is not finite on the usual market either")
        for column, text in found:
            if column not in known:
                where, mistake = likely(subject, NOT_FINITE, column, strict=True)
                yield Fault(f"{text}: {SHAPES[shape]}", where or subject.place(), mistake)


for _shape in SHAPES:
    survives(_shape)


def _not_finite(subject: Subject, shape: str) -> Iterator[tuple[str, str]]:
    """Yield (column, what it is) of the columns that have no value at a bar after the warm-up."""
    from mnqcore import causality

    frame = causality.computed(compute_of(subject), subject.view(shape))
    for column in frame:
        bad = np.flatnonzero(~np.isfinite(frame[column].to_numpy(np.float64)[subject.warmup :]))
        if len(bad):
            at = subject.warmup + int(bad[0])
            value = frame[column].iloc[at]
            yield str(column), f"column {column} is {value} at bar {at:,}, {frame.index[at]:%Y-%m-%d %H:%M} UTC"


def _columns(frame: pd.DataFrame) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in frame.dtypes.items()}


def _text(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items()) or "none"


def _words(made: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in made.items()).replace("_", " ")
