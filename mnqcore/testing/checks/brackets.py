"""What brackets keep to: distances above 0 that are there once it is warm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnqcore.testing.market import SHAPES
from mnqcore.testing.mistakes import NOT_FINITE, likely
from mnqcore.testing.verdict import Fault, NotAsked, check

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

        if shape != "usual" and _late(subject, "usual") is not None:
            raise NotAsked("it is not there on the usual market either")
        view = subject.view(shape)
        calls.levels(subject.choice, view)  # refuses what is neither above 0 nor NaN
        if (at := _late(subject, shape)) is not None:
            where, mistake = likely(subject, NOT_FINITE, "stop", strict=True)
            text = f"stop is NaN at bar {at:,}, {view.bars.index[at]:%Y-%m-%d %H:%M} UTC, after {subject.warmup:,} bars"
            yield Fault(f"{text}: {SHAPES[shape]}", where or subject.place(), mistake)


def _late(subject: Subject, shape: str) -> int | None:
    """Return the first bar after the warm-up that has no stop, None without one."""
    from mnqcore.tape import calls

    subject.need_warm()
    stop, _ = calls.levels(subject.choice, subject.view(shape))
    late = np.flatnonzero(stop[subject.warmup :] < 0)
    return subject.warmup + int(late[0]) if len(late) else None


for _shape in SHAPES:
    survives(_shape)
