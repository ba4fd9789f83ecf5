"""What each kind's answer must look like before anything else of it can be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.testing.verdict import Fault, Inapplicable, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.subject import Subject


@check("contract", "features", rule="`compute` returns float columns of different names, a row a bar, never infinite.")
def of_features(subject: Subject) -> Iterator[Fault]:
    """See to the shape of a feature set's columns."""
    from mnqcore.tape import calls

    calls.features(subject.choice, "x", subject.view())
    return iter(())


@check("contract", "bracket", rule="`levels` returns `stop`, and `target` if it sets one, in numbers, a row a bar.")
def of_brackets(subject: Subject) -> Iterator[Fault]:
    """See to the shape of a bracket's distances."""
    from mnqcore.tape import calls

    calls.distances(subject.choice, subject.view())
    return iter(())


@check("contract", "agent", rule="`signals` returns whole numbers, 0 HOLD 1 BUY 2 SELL 3 CLOSE, one a bar.")
def of_rules(subject: Subject) -> Iterator[Fault]:
    """See to the shape and the range of a rule's signals."""
    from mnqcore.tape import calls

    if subject.learns:
        raise Inapplicable("it learns")
    calls.signals(subject.choice, subject.view())
    return iter(())


@check("contract", "sizer", "reward", rule="`prepare`, where there is one, returns a number a bar.")
def of_prepare(subject: Subject) -> Iterator[Fault]:
    """See to the shape of what is worked out from bars beforehand."""
    from mnqcore.tape import calls

    if not callable(getattr(subject.cls, "prepare", None)):
        raise Inapplicable("it prepares nothing")
    calls.prepared(subject.choice, subject.build(), subject.view())
    return iter(())
