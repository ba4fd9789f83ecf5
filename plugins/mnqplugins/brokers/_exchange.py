"""How bars fill the orders of the simulated broker: by the rules of the simulator, to the tick. No clock, no I/O.

A market order fills at the next open of its contract, moved against it by slippage, exits before entries. An entry is
good for its session, everything else until it is cancelled. Stop and target can be reached within the bar of the
entry's fill; a bar that reaches both takes the stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from mnqcore import port, rules
from mnqplugins.brokers._orders import Live, Orders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqplugins.brokers._account import Account


class Quote(NamedTuple):
    """A contract's bar, in ticks."""

    open: int
    high: int
    low: int
    close: int


@attrs.frozen(kw_only=True)
class Slot:
    """A bar start with the bars that it has: `quotes` is contract -> bar. Times in UTC ns.

    `waits`: contracts whose market orders wait although they trade. `carried`: contract -> where its market orders
    fill instead, None at its last close: a roll has left it.
    """

    number: int
    start: int
    close: int
    session: int
    day: int
    quotes: Mapping[str, Quote]
    waits: frozenset[str] = frozenset()
    carried: Mapping[str, int | None] = attrs.field(factory=dict)

    @property
    def middle(self) -> int:
        """When stops and targets are reached."""
        return self.start + (self.close - self.start) // 2


class Exchange:
    """Fills orders and books what they come to.

    Args:
        account: where fills are booked.
        ends: contract -> number of its last slot.
    """

    def __init__(self, account: Account, ends: Mapping[str, int]) -> None:
        self.account, self.ends = account, ends
        self.orders = Orders(ends)
        self.partial: tuple[int, bool] | None = None
        """How many contracts of the next entry fill at once, and whether the rest is cancelled."""
        self.over = False
        """Whether there are no more bars."""

    def submit(self, bracket: port.BracketOrder, now: int, slot: Slot | None) -> None:
        """Take orders as one; within a `slot` that is open, market orders fill at once. ValueError: none was taken."""
        self.orders.submit(bracket.orders, now)
        if slot is not None:
            self._fill_market(slot, now)
        if self.over:
            self.last_orders()

    def open(self, slot: Slot) -> None:
        """Let a bar open: entries of another session expire, market orders fill."""
        self.orders.session = slot.session
        for live in self.orders:
            if live.order.role is port.Role.ENTRY and live.session != slot.session:
                self.orders.cancel(live, slot.start, "expired", "its session is over")
        self._fill_market(slot, slot.start)

    def reach(self, slot: Slot) -> None:
        """Let a bar run: it reaches stops, then targets."""
        priced = [live for live in self.orders if live.order.price is not None]
        for live in sorted(priced, key=lambda each: each.order.role is not port.Role.STOP):
            quote = slot.quotes.get(live.order.contract)
            if quote is not None and live.status is port.Status.WORKING:
                price = _reached(live.order, quote, self.account.terms.slippage)
                if price is not None:
                    self._fill(live, live.left, price, slot.middle)

    def close(self, slot: Slot) -> None:
        """Let a bar close: commissions are charged, positions marked."""
        for contract, quote in slot.quotes.items():
            self.orders.closes[contract] = (quote.close, slot.close)
        self.orders.events += self.account.charge(slot.close)
        self.account.mark({contract: quote.close for contract, quote in slot.quotes.items()}, slot.day)
        self.orders.forget()

    def last_orders(self) -> None:
        """Settle market orders where no more bars come: exits at the last close, entries expire."""
        self.over = True
        for live in self.orders:
            close = self._last_close(live.order)
            if live.order.role is port.Role.ENTRY:
                self.orders.cancel(live, 0 if close is None else close[1], "expired", "no more bars")
            elif live.order.price is None and live.status is port.Status.WORKING and close is not None:
                self._fill(live, live.left, self._slipped(close[0], live.order), close[1])
        self.orders.events += self.account.charge(max((time for _, time in self.orders.closes.values()), default=0))

    def trade(self, contract: str, signed: int, price: int, time: int, *, forced: bool = False) -> None:
        """Book a trade that is none of ours."""
        execution = self.account.book(
            ref="", broker_id=self.orders.next_id(), contract=contract, side=1 if signed > 0 else -1,
            contracts=abs(signed), price=price, time=time, forced=forced,
        )  # fmt: skip
        self.orders.events.append(port.Filled(execution=execution, time=time))

    def _fill_market(self, slot: Slot, now: int) -> None:
        waiting = [live for live in self.orders if live.order.price is None and live.status is port.Status.WORKING]
        for live in sorted(waiting, key=lambda each: each.order.role is not port.Role.EXIT):
            found = self._market(live.order, slot, now)
            if found is not None and live.status is port.Status.WORKING:
                self._fill_open(live, self._slipped(found[0], live.order), found[1])

    def _market(self, order: port.Order, slot: Slot, now: int) -> tuple[int, int] | None:
        """Return where and when a market order fills in a slot, None if it does not."""
        contract, quote = order.contract, slot.quotes.get(order.contract)
        carried = slot.carried.get(contract)
        if self.ends[contract] < slot.number or (contract in slot.carried and carried is None):
            return self._last_close(order) if order.role is port.Role.EXIT else None
        if carried is not None:
            return carried, now
        return None if quote is None or contract in slot.waits else (quote.open, now)

    def _last_close(self, order: port.Order) -> tuple[int, int] | None:
        """Return a contract's last close, and a time within that bar: a fill there is one of the bar itself."""
        found = self.orders.closes.get(order.contract)
        return None if found is None else (found[0], found[1] - 1)

    def _slipped(self, price: int, order: port.Order) -> int:
        return rules.slipped(price, order.side, self.account.terms.slippage)

    def _fill_open(self, live: Live, price: int, time: int) -> None:
        """Fill a market order, or the part of it that the script leaves."""
        if self.partial is None or live.order.role is not port.Role.ENTRY or live.left < 2:
            self._fill(live, live.left, price, time)
            return
        (part, cancels), self.partial = self.partial, None
        self._fill(live, min(part, live.left - 1), price, time)
        if cancels:
            self.orders.cancel(live, time, "partial", "the rest was cancelled")

    def _fill(self, live: Live, contracts: int, price: int, time: int) -> None:
        execution = self.account.book(
            ref=live.ref, broker_id=live.broker_id, contract=live.order.contract, side=live.order.side,
            contracts=contracts, price=price, time=time,
        )  # fmt: skip
        self.orders.events.append(port.Filled(execution=execution, time=time))
        self.orders.filled(live, contracts, time)


def _reached(order: port.Order, quote: Quote, slippage: int) -> int | None:
    """Return where a stop or a target fills in a bar, None where the bar does not reach it."""
    price, held = order.price or 0, -order.side  # the side of the position that it closes
    if order.role is port.Role.STOP:
        reached = quote.low <= price if held > 0 else quote.high >= price
        return rules.stop_fill(held, quote.open, price, slippage) if reached else None
    reached = quote.high >= price if held > 0 else quote.low <= price
    return rules.target_fill(held, quote.open, price) if reached else None
