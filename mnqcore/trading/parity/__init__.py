"""Proves that what a session did is what the backtester does: from its journal, row by row.

The ledger that the journal holds is given, and so is what the world did: refusals, commands, lost orders. On it, three
rows are computed once more: features and decisions; the orders that they come to; the fills of those. `record` reads
the journal, `ground` computes from the bars, `features`, `orders`, `fills` compare, and `ledger` sees that the given
ledger is what the fills make of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.errors import UsageError
from mnqcore.trading.parity import features, fills, ledger, orders
from mnqcore.trading.parity.fold import Folded
from mnqcore.trading.parity.given import given
from mnqcore.trading.parity.model import FillModel
from mnqcore.trading.parity.outcome import Difference, Parity, Row, Slippage
from mnqcore.trading.parity.story import tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.trading.books import Books
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.parity.ground import Ground
    from mnqcore.trading.parity.record import Closed, Record
    from mnqcore.trading.rows import Seen

__all__ = ["Difference", "Parity", "Row", "Slippage", "prove"]

_FOREVER = 1 << 63


def prove(journal: Journal, record: Record, ground: Ground, fresh: Callable[[], Books]) -> Parity:
    """Compare a session with what the backtester does.

    Args:
        journal: of the session.
        record: what it holds.
        ground: what it is compared on.
        fresh: makes the books that a session begins with.

    Raises:
        UsageError: no bar has closed yet.
    """
    if not record.bars:
        raise UsageError("no bar has closed in this session yet", where=str(journal.path))
    stories = tell(record.events)
    last = record.bars[-1].time
    numbers = {closed.time: closed.number for closed in record.bars}
    model = FillModel(ground.strategy, ground.market, ground.clocks[-1], numbers, last if record.over else None)
    first = features.compare(record, ground, fresh())
    second, below = _walked(journal, record, ground, fresh)
    third, slippage = fills.compare(stories, model, ground, _FOREVER if record.over else last)
    return Parity(
        features=first,
        orders=second,
        fills=third,
        ledger=below,
        source=ground.source,
        exact=ground.exact,
        slippage=slippage,
        given=given(record, stories, ground.market),
    )


def _walked(journal: Journal, record: Record, ground: Ground, fresh: Callable[[], Books]) -> tuple[Row, Row]:
    """Go through the journal once, and judge at each bar what was ordered and what the ledger came to."""
    row, below = Row(name="orders", about=orders.ABOUT), Row(name="ledger", about=ledger.ABOUT)
    folded, books = Folded.of(journal, record.events, fresh()), fresh()
    last: tuple[Closed, Seen] | None = None
    for closed in record.bars:
        folded.until(closed.at)
        again = ledger.look(below, closed, ground, folded.memory)
        last = None if again is None else (closed, again)
        folded.until(closed.at + 1)
        orders.look(row, closed, ground, books, folded)
    if record.final is not None and last is not None:
        folded.until(record.final)
        ledger.finish(below, *last, record.events[record.final].data, folded.memory)
    return row, below
