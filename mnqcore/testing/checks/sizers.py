"""What sizers keep to: whole contracts, whoever else enters, and nothing remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnqcore.testing.paths import entries, one_by_one
from mnqcore.testing.verdict import Fault, Inapplicable, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from mnqcore.api.values import Entry
    from mnqcore.testing.subject import Subject

    SizeOf = Callable[[Entry], NDArray[np.int64]]

_EQUITIES = (1_000.0, 10_000.0, 100_000.0, 1_000_000.0)


def sized(subject: Subject) -> SizeOf:
    """Return a fresh sizer that only gives whole contracts, 0 or more, one an entry."""
    from mnqcore.tape import calls

    return calls.size_of(subject.choice, subject.build())


@check("poor accounts", "sizer")
def poor_accounts(subject: Subject) -> Iterator[Fault]:
    """An account that has next to nothing left is answered too: 0 is no entry."""
    sizer = sized(subject)
    for equity in (0.01, 1.0):
        for entry in entries(subject, equity=equity):
            sizer(entry)
    return iter(())


@check("entries apart", "sizer")
def entries_apart(subject: Subject) -> Iterator[Fault]:
    """Many entries at once get what each gets alone."""
    sizer = sized(subject)
    for entry in entries(subject)[1:]:
        together = sizer(entry)
        by_itself = np.concatenate([sizer(one) for one in one_by_one(entry)])
        wrong = np.flatnonzero(together != by_itself)
        if len(wrong):
            at = int(wrong[0])
            text = f"entry {at + 1} of {len(together)} gets {together[at]} contracts, alone {by_itself[at]}"
            yield Fault(text, subject.place(), "a figure over all entries: each is of another account")
            return


@check("remembers nothing", "sizer")
def remembers_nothing(subject: Subject) -> Iterator[Fault]:
    """The same entry gets the same size, whatever was asked before."""
    sizer, asked = sized(subject), entries(subject)
    first = [sizer(entry) for entry in asked]
    again = [sizer(entry) for entry in reversed(asked)][::-1]
    fresh = [sized(subject)(entry) for entry in asked]
    for one, two, three in zip(first, again, fresh, strict=True):
        if not (np.array_equal(one, two) and np.array_equal(one, three)):
            yield Fault(
                "asked again, it gives the same entry another size",
                subject.place(),
                "a sizer is stateless: entry has the wins and losses so far, prepare() what follows from bars",
            )
            return


@check("grows with equity", "sizer", advisory=True)
def grows_with_equity(subject: Subject) -> Iterator[Fault]:
    """One that sizes by risk (`needs_stop`) gives a richer account no fewer contracts."""
    if not getattr(subject.cls, "needs_stop", False):
        raise Inapplicable("it does not say that it sizes by risk: needs_stop")
    sizer = sized(subject)
    sizes = np.array([sizer(entries(subject, equity=equity)[2]) for equity in _EQUITIES])
    if (np.diff(sizes, axis=0) < 0).any():
        yield Fault("a richer account gets fewer contracts", subject.place())
