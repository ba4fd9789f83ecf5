"""A sizer written in Python, as an outside author would: what asking it costs an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.kernel import Prepared
from benchmarks.timing import Contestant, Times, alternate
from mnqcore import param, plugin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.workload import Workload
    from mnqcore import Entry

_MAX_POSITION = 10


@plugin
class ShareOfEquity:
    """Risk a share of the equity on each entry, at least one contract."""

    risk: float = param(0.01, gt=0, le=1, unit="of equity", help="lost when the stop is hit")

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return whole contracts, (m,)."""
        affordable = self.risk * entry.equity / (entry.stop_distance * entry.point_value)
        return np.maximum(np.floor(affordable), 1).astype(np.int64)


def measure(work: Workload, rounds: int) -> tuple[Times, int]:
    """Time `asked` and `given`, runs with the sizer and with sizes as an array; return the number of entries too.

    The sizer wants more than `max_position` at every entry and the array holds `max_position`, so that both runs make
    the same trades and differ by the asking alone.

    Raises:
        RuntimeError: the two runs differ.
    """
    from mnqcore.strategy.model import Choice
    from mnqcore.tape import calls

    prepared = Prepared(work, max_position=_MAX_POSITION)
    choice = Choice(
        kind="sizer", use="share-of-equity", distribution="outside", version="1.0", params={}, cls=ShareOfEquity
    )
    size_of = calls.size_of(choice, choice.build())
    asked, given = prepared.account(), prepared.account()
    same = np.array_equal(
        asked.run(prepared.actions, size_of=size_of), given.run(prepared.actions, sizes=prepared.sizes)
    )
    if not same:
        raise RuntimeError("the sizer's run differs from that with its sizes as an array")
    contestants = {
        "asked": Contestant(lambda account: account.run(prepared.actions, size_of=size_of), prepared.account),
        "given": Contestant(
            lambda account: account.run(prepared.actions, sizes=prepared.sizes), prepared.account, repeat=10
        ),
    }
    return alternate(contestants, rounds), len(asked.trades[0])
