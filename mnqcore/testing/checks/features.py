"""What feature sets keep to, on every market."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnqcore.testing.checks.causal import compute_of, peeking
from mnqcore.testing.checks.contracts import faults_of
from mnqcore.testing.market import SHAPES
from mnqcore.testing.mistakes import NOT_FINITE, likely
from mnqcore.testing.verdict import Fault, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.subject import Subject


def survives(shape: str) -> None:
    """Write down that a feature set survives a market."""

    @check(
        f"survives {shape}", "features",
        rule=f"Every value after the warm-up is finite on {SHAPES[shape]}, with a roll.",
    )  # fmt: skip
    def survived(subject: Subject) -> Iterator[Fault]:
        if faults := list(faults_of(subject, lambda: compute_of(subject)(subject.view(shape)))):
            yield from faults
            return
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
    from mnqcore.tape.feeds import lasting, unfed

    subject.need_warm()
    view = subject.view(shape)
    frame = causality.computed(compute_of(subject), view)
    wanted = np.arange(len(frame)) >= subject.warmup
    for feed in view.feeds:  # what a feed lacks cannot be known, nor what is made of it for a warm-up
        wanted &= ~lasting(unfed(view, feed), subject.warmup)
    for column in frame:
        bad = np.flatnonzero(wanted & ~np.isfinite(frame[column].to_numpy(np.float64)))
        if len(bad):
            at = int(bad[0])
            value = frame[column].iloc[at]
            yield str(column), f"column {column} is {value} at bar {at:,}, {frame.index[at]:%Y-%m-%d %H:%M} UTC"
