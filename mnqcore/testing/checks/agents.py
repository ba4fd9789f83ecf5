"""What rules keep to, on every market; that they are causal is looked at with all that maps bars to columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnqcore.api.values import Action
from mnqcore.testing.market import LENGTHS, SHAPES
from mnqcore.testing.verdict import Fault, Inapplicable, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.subject import Subject


def survives(shape: str) -> None:
    """Write down that a rule survives a market."""

    @check(f"survives {shape}", "agent", rule=f"Its signals are 0, 1, 2 or 3 on {SHAPES[shape]}, with a roll.")
    def survived(subject: Subject) -> Iterator[Fault]:
        from mnqcore.tape import calls

        if subject.learns:
            raise Inapplicable("it learns")
        calls.signals(subject.choice, subject.view(shape))
        return iter(())


for _shape in SHAPES:
    survives(_shape)


@check("short histories", "agent")
def short_histories(subject: Subject) -> Iterator[Fault]:
    """It answers for histories that are shorter than its warm-up too; before the warm-up has passed, by HOLD."""
    from mnqcore.tape import calls

    if subject.learns:
        raise Inapplicable("it learns")
    for bars in (*LENGTHS, subject.bars):
        found = calls.signals(subject.choice, subject.view(bars=bars))
        early = np.flatnonzero(found[: subject.warmup] != Action.HOLD)
        if len(early):
            text = f"of {len(found)} bars it answers {found[early[0]]} at bar {early[0]}, within its warm-up"
            yield Fault(text, subject.place(), "HOLD until all it reads is there")
            return
