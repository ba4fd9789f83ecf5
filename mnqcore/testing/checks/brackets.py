"""What brackets keep to: distances above 0 that are there once it is warm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnqcore.testing.market import SHAPES
from mnqcore.testing.mistakes import NOT_FINITE, likely
from mnqcore.testing.verdict import Fault, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.subject import Subject


def survives(shape: str) -> None:
    """Write down that a bracket survives a market."""

    @check(
        f"survives {shape}",
        "bracket",
        rule=f"Distances are above 0, and there after the warm-up, on {SHAPES[shape]}, with a roll.",
    )
    def survived(subject: Subject) -> Iterator[Fault]:
        from mnqcore.tape import calls

        view = subject.view(shape)
        stop, _ = calls.levels(subject.choice, view)  # refuses what is not above 0, and not NaN
        late = np.flatnonzero(stop[subject.warmup :] < 0)
        if len(late):
            at = subject.warmup + int(late[0])
            where, mistake = likely(subject, NOT_FINITE, "stop", strict=True)
            text = f"stop is NaN at bar {at:,}, {view.bars.index[at]:%Y-%m-%d %H:%M} UTC, after {subject.warmup:,} bars"
            yield Fault(f"{text}: {SHAPES[shape]}", where or subject.place(), mistake)


for _shape in SHAPES:
    survives(_shape)
