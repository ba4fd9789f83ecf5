"""What becomes of an execution that the broker tells: booked, restated, doubted, or none of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.api.port import Role
from mnqcore.market.instruments import MICRO

if TYPE_CHECKING:
    from mnqcore.api.port import Charged, Filled
    from mnqcore.trading.desk import Desk, Row
    from mnqcore.trading.orders import Change


def filled(desk: Desk, event: Filled, change: Change | None) -> None:
    """Take in an execution; `change` is what it changed of our orders, None where it is of none of them."""
    execution, memory = event.execution, desk.memory
    if execution.forced or (change is None and execution.id in memory.orders.foreign):
        if execution.revision == 0:
            memory.moved(execution, execution.side * execution.contracts, ours=False)
        what = "the broker liquidated" if execution.forced else "a fill is none of ours"
        memory.halt(f"{what}: {execution.side * execution.contracts:+d} {execution.contract}")
        memory.ask(what)
        return
    if change is None:
        return
    memory.rejections = 0
    memory.moved(execution, change.contracts, ours=True)
    _doubt(desk, change)
    if change.corrects:
        _correct(desk, change)
    elif change.contracts:
        memory.owe(change)
    memory.ask("a fill", whole=False)
    desk.losses.within(desk.newest())


def charged(desk: Desk, event: Charged) -> None:
    """Take in what an execution cost; say so where that is far from what was reckoned (Q3)."""
    orders = desk.memory.orders
    reckoned = orders.counted.get(event.execution)
    if reckoned is not None and 2 * abs(event.commission - reckoned) > max(reckoned, event.commission):
        desk.memory.alert(
            "warning",
            f"the broker charged {event.commission / MICRO:,.2f} for a fill, costs.commission makes it "
            f"{reckoned / MICRO:,.2f}",
        )
    desk.memory.charged(event)


def slipped(desk: Desk, row: Row) -> None:
    """Say so where a market order of the bar that closes filled farther from its open than expected (Q5)."""
    if row.now["rolled"][0]:  # the open of another contract
        return
    for fill in desk.memory.books.pending:
        if fill.role in (Role.ENTRY, Role.EXIT) and row.start <= fill.time < row.end:
            _alert_slippage(desk, fill.ref, fill.side * (fill.price - row.prices[0]))


def _correct(desk: Desk, change: Change) -> None:
    execution, memory = change.execution, desk.memory
    memory.alert("warning", f"the broker corrected a fill: {execution.id}, now {execution.contracts} contracts")
    memory.restated(change)
    if change.contracts:
        memory.halt("a fill was taken back or changed in size")


def _doubt(desk: Desk, change: Change) -> None:
    """Alert a fill that cannot be, or that slipped more than expected; halt on the former (Q3, Q5)."""
    tracked, execution, memory = change.tracked, change.execution, desk.memory
    if tracked.filled > tracked.contracts:
        memory.halt(f"{tracked.order.ref} filled {tracked.filled} of {tracked.contracts} contracts")
    close = desk.last.close if desk.last is not None and not _after_a_gap(desk, execution.time) else 0
    if close and abs(execution.price - close) > desk.strategy.trade.limits.fill_collar * abs(close):
        memory.halt(f"a fill at {execution.price} ticks is far from the last close {close}")
    if (wanted := tracked.order.price) is not None:
        _alert_slippage(desk, tracked.order.ref, tracked.order.side * (execution.price - wanted))


def _after_a_gap(desk: Desk, time: int) -> bool:
    """Whether a fill came after bars that miss, or over a close: the market may have moved far meanwhile."""
    assert desk.last is not None
    clock, last = desk.clock, desk.last.start
    return time >= min(clock.slot_end(clock.next_slot(last)), clock.session_close(last))


def _alert_slippage(desk: Desk, ref: str, ticks: int) -> None:
    if ticks > desk.strategy.trade.limits.max_slippage_ticks:
        desk.memory.alert("warning", f"{ref} slipped {ticks} ticks")
