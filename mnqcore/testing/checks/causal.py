"""What maps bars to columns knows no later bar, warms up as it says, and leaves the bars alone."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

from mnqcore.testing.mistakes import LOOKS_AHEAD, REMEMBERS, likely
from mnqcore.testing.verdict import Fault, Inapplicable, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from mnqcore.api.values import MarketView
    from mnqcore.causality import Finding
    from mnqcore.testing.subject import Subject

    Compute = Callable[[MarketView], pd.DataFrame | pd.Series]

KINDS = ("features", "bracket", "agent", "sizer", "reward")
_TELLING = 30
"""Bars at which a column says something new, where the future is cut off as well."""
_AT = 16


def compute_of(subject: Subject) -> Compute:
    """Return how a piece is asked for its columns; NotAsked where it has none."""
    from mnqcore.tape import calls

    choice = subject.choice
    if subject.kind == "features":
        return lambda view: calls.features(choice, "", view).rename(columns=lambda name: name[1:])
    if subject.kind == "bracket":
        return lambda view: calls.distances(choice, view)
    if subject.kind == "agent" and not subject.learns:
        return lambda view: _named(calls.signals(choice, view), "signal")
    if subject.kind in ("sizer", "reward") and callable(getattr(subject.cls, "prepare", None)):
        return lambda view: _named(calls.prepared(choice, choice.build(), view), "prepare")
    raise Inapplicable("it computes nothing from bars")


@check("mutation", *KINDS)
def mutation(subject: Subject) -> Iterator[Fault]:
    """The bars that it is given are as they were: every later piece reads them too."""
    compute_of(subject)(subject.view())  # raises where it has written
    return iter(())


@check("look-ahead", *KINDS)
def look_ahead(subject: Subject) -> Iterator[Fault]:
    """No value changes when later bars change, or are not there yet."""
    from mnqcore import causality

    if "fickle" in subject.kept:
        raise NotAsked("its columns are others from market to market")
    if causality.strays(compute_of(subject), subject.view()):
        raise NotAsked("it draws lots, which would pass for look-ahead")
    for finding in peeking(subject).values():
        where, mistake = likely(subject, LOOKS_AHEAD, finding.column)
        yield Fault(f"column {finding.text}, {finding.time:%Y-%m-%d %H:%M} UTC", where or subject.place(), mistake)


def peeking(subject: Subject) -> dict[str, Finding]:
    """Return column -> what was found of it, of those that know a later bar; looked for once."""
    import numpy as np

    from mnqcore import causality

    if "peeking" not in subject.kept:
        compute, view = compute_of(subject), subject.view()
        cut = causality.telling(causality.computed(compute, view), _TELLING)
        first = min(subject.warmup, len(view.bars) // 2)
        at = sorted({*np.linspace(max(first, 5), len(view.bars) - 2, _AT).astype(int).tolist()})
        found = causality.look_ahead(compute, view, at=at, cut=cut)
        subject.kept["peeking"] = {finding.column: finding for finding in found}
    known: dict[str, Finding] = subject.kept["peeking"]
    return known


@check("warm-up declared", *KINDS)
def declares_its_warm_up(subject: Subject) -> Iterator[Fault]:
    """`warmup` is a whole number of bars, 0 or more."""
    compute_of(subject)
    if subject.kind == "reward":
        raise Inapplicable("a reward has no warm-up")
    found = getattr(subject.build(), "warmup", None)
    if not isinstance(found, Integral) or isinstance(found, bool) or found < 0:
        yield Fault(f"warmup is {found!r}", subject.place(), "an attribute or a property: so many bars, 0 or more")


@check("warm-up", *KINDS)
def warm_up(subject: Subject) -> Iterator[Fault]:
    """After `warmup` bars no value depends on where the history starts, by a millionth of its deviation."""
    from mnqcore import causality

    compute, view, warmup = compute_of(subject), subject.view(), subject.warmup
    if subject.kind == "reward":
        raise Inapplicable("a reward has no warm-up")
    if warmup > len(view.bars) // 2 - 100:
        raise NotAsked(f"a warm-up of {warmup:,} bars is more than is tried here")
    for finding in causality.warm_up(compute, view, warmup):
        if finding.column in peeking(subject):  # where the bars end, it would be another value in any case
            continue
        where, mistake = likely(subject, REMEMBERS, finding.column)
        yield _short(finding, warmup, where or subject.place(), mistake)


def _short(finding: Finding, warmup: int, where: str, mistake: str) -> Fault:
    _, _, enough = finding.text.partition(", agrees after ")
    advice = f"set warmup = {enough.replace(',', '')}" if enough else mistake or "nothing within 200 bars would do"
    return Fault(
        f"declared {warmup:,}; {finding.text}", where, f"{mistake}; {advice}" if mistake and enough else advice
    )


def _named(values: object, name: str) -> pd.Series:
    import pandas as pd

    return pd.Series(values, name=name)
