"""The orders of the simulated broker, and how bars fill them: by the rules of the simulator, to the tick.

A market order fills at the next open of its contract, moved against it by slippage. An entry is good for its session,
everything else until it is cancelled. Stop and target wait for the entry, are never for more than it has filled, and
can be reached within the bar of its fill; a bar that reaches both takes the stop. Orders of one group cancel each
other once one has filled wholly. Nothing reduces only: two exits that both fill turn the position round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from mnqcore import port, rules
from mnqplugins.brokers._account import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mnqplugins.brokers._account import Account

_MOST = 10_000  # contracts of one order
_FAR = 10  # times the last close: no price lies beyond
_MARKET = (port.Role.ENTRY, port.Role.EXIT)


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


@attrs.define(eq=False)
class Live:
    """An order at the broker; `contracts` is what it is for now."""

    order: port.Order
    broker_id: str
    session: int
    contracts: int
    filled: int = 0
    status: port.Status = port.Status.PENDING
    why: str = ""
    foreign: bool = False

    @property
    def left(self) -> int:
        """Contracts that are not filled yet."""
        return self.contracts - self.filled

    @property
    def ref(self) -> str:
        """Ours; empty where it is none of ours."""
        return "" if self.foreign else self.order.ref

    @property
    def state(self) -> port.OrderState:
        """As queries tell of it."""
        return port.OrderState(
            ref=self.ref,
            broker_id=self.broker_id,
            role=None if self.foreign else self.order.role,
            contract=self.order.contract,
            side=self.order.side,
            contracts=self.contracts,
            filled=self.filled,
            price=self.order.price,
            status=self.status,
            why=self.why,
        )


@attrs.define
class Whims:
    """What the exchange will do wrong next, each once."""

    refused: dict[port.Role, str] = attrs.field(factory=dict)
    """role -> code with which the next such order is rejected when it would get to work."""
    swallowed: set[port.Role] = attrs.field(factory=set)
    """Roles of which the next order is lost without a word, with what waits for it."""
    partial: tuple[int, bool] | None = None
    """How many contracts of the next market entry fill at once, and whether the rest is cancelled."""


class Exchange:
    """Takes orders and fills them; what happens is appended to `events`.

    Args:
        account: where fills are booked.
        ends: contract -> number of its last slot.
    """

    def __init__(self, account: Account, ends: Mapping[str, int]) -> None:
        self.account, self.ends = account, ends
        self.events: list[port.Event] = []
        self.whims = Whims()
        self.closes: dict[str, tuple[int, int]] = {}
        """contract -> its last close in ticks, and when that bar closed."""
        self.session, self.number = 0, -1
        self.over = False
        """Whether there are no more bars."""
        self._alive: dict[str, Live] = {}
        """broker's id -> order that may still fill, in the order in which they came."""
        self._ended: dict[str, Live] = {}
        self._ids: dict[str, str] = {}
        """ref -> broker's id, of all orders ever."""
        self._done: set[str] = set()
        """Groups of which an order has filled."""
        self._count = 0

    # What clients ask.

    def submit(self, bracket: port.BracketOrder, now: int) -> None:
        """Take orders as one: all of them, or none with the reason.

        Raises:
            ValueError: a ref was used before, or there is none; nothing was taken.
        """
        if wrong := self._misnamed(bracket.orders):
            raise ValueError(wrong)
        if self._swallow(bracket.orders):
            return
        taken = [self._take(order, now) for order in bracket.orders]
        found = next(filter(None, map(self._fault, bracket.orders)), None)
        for live in taken:
            if found:
                self._reject(live, now, *found)
            else:
                self.events.append(port.Accepted(ref=live.order.ref, broker_id=live.broker_id, time=now))
        for live in taken:
            if live.status is port.Status.PENDING:
                self._begin(live, now)
        if self.over:
            self.last_orders()

    def cancel(self, ref: str, now: int) -> None:
        """Cancel an order of ours; one that cannot be cancelled is answered by Unknown."""
        live = self._alive.get(self._ids.get(ref, ""))
        if live is not None:
            self._cancel(live, now, "", "asked for")
        elif ref in self._ids:
            self.events.append(port.Unknown(ref=ref, time=now, code="ended", why="the order has ended"))
        else:
            self.events.append(port.Unknown(ref=ref, time=now, code="no-order", why="no order of that ref"))

    def open_orders(self) -> list[port.OrderState]:
        """Return the orders that may still fill."""
        return [live.state for live in self._alive.values()]

    def completed_orders(self) -> list[port.OrderState]:
        """Return the orders that have ended, the last that are remembered."""
        return [live.state for live in self._ended.values()]

    # What a bar does, in this order.

    def open(self, slot: Slot) -> None:
        """Let a bar open: entries of another session expire, market orders fill, exits first."""
        self.session, self.number = slot.session, slot.number
        for live in self._each():
            if live.order.role is port.Role.ENTRY and live.session != slot.session:
                self._cancel(live, slot.start, "expired", "its session is over")
        self.fill_market(slot, slot.start)

    def fill_market(self, slot: Slot, now: int) -> None:
        """Fill the market orders that can be: at the open of the slot, whenever within it they came."""
        waiting = [live for live in self._each() if live.order.price is None and live.status is port.Status.WORKING]
        for live in sorted(waiting, key=lambda each: each.order.role is not port.Role.EXIT):
            if live.status is not port.Status.WORKING:
                continue
            price, time = self._market(live.order, slot, now)
            if price is not None:
                self._fill_open(live, rules.slipped(price, live.order.side, self.account.terms.slippage), time)

    def reach(self, slot: Slot) -> None:
        """Let a bar run: it reaches stops, then targets."""
        priced = [live for live in self._each() if live.order.price is not None]
        for live in sorted(priced, key=lambda each: each.order.role is not port.Role.STOP):
            quote = slot.quotes.get(live.order.contract)
            if quote is not None and live.status is port.Status.WORKING:
                price = _reached(live.order, quote, self.account.terms.slippage)
                if price is not None:
                    self._fill(live, live.left, price, slot.middle)

    def close(self, slot: Slot) -> None:
        """Let a bar close: commissions are charged, positions marked."""
        for contract, quote in slot.quotes.items():
            self.closes[contract] = (quote.close, slot.close)
        self.events += self.account.charge(slot.close)
        self.account.mark({contract: quote.close for contract, quote in slot.quotes.items()}, slot.day)
        for key in list(self._ended)[: max(len(self._ended) - 2 * REMEMBERED, 0)]:
            del self._ended[key]

    def last_orders(self) -> None:
        """Settle market orders where no more bars come: exits at the last close, entries expire."""
        self.over = True
        for live in self._each():
            close, time = self.closes.get(live.order.contract, (None, 0))
            if live.order.role is port.Role.ENTRY:
                self._cancel(live, time, "expired", "no more bars")
            elif live.order.price is None and live.status is port.Status.WORKING and close is not None:
                price = rules.slipped(close, live.order.side, self.account.terms.slippage)
                self._fill(live, live.left, price, time - 1)
        self.events += self.account.charge(max((time for _, time in self.closes.values()), default=0))

    # What others do.

    def trade(self, contract: str, signed: int, price: int, time: int, *, forced: bool = False) -> None:
        """Book a trade that is none of ours."""
        self._count += 1
        execution = self.account.book(
            ref="", broker_id=f"{self._count}", contract=contract, side=1 if signed > 0 else -1,
            contracts=abs(signed), price=price, time=time, forced=forced,
        )  # fmt: skip
        self.events.append(port.Filled(execution=execution, time=time))

    def foreign_order(self, contract: str, signed: int, price: int, now: int) -> None:
        """Take a limit order that is none of ours."""
        order = port.Order(
            ref=f"foreign {self._count}", role=port.Role.TARGET, contract=contract, side=1 if signed > 0 else -1,
            contracts=abs(signed), price=price,
        )  # fmt: skip
        live = self._take(order, now)
        live.foreign, live.status = True, port.Status.WORKING

    def alive(self, role: port.Role | None = None) -> Live | None:
        """Return the first order of ours at work, of a role or of any; None where there is none."""
        found = (
            live
            for live in self._alive.values()
            if not live.foreign and live.status is port.Status.WORKING and role in (None, live.order.role)
        )
        return next(found, None)

    def cancel_outside(self, live: Live, now: int, code: str, why: str) -> None:
        """Cancel an order that nobody of ours asked to be cancelled."""
        self._cancel(live, now, code, why)

    def park(self, live: Live, now: int) -> None:
        """Take an order from work without ending it."""
        live.status, live.why = port.Status.PENDING, "parked"
        self.events.append(port.Parked(ref=live.ref, broker_id=live.broker_id, time=now, why="will not be at work yet"))

    # Orders come, and end.

    def _misnamed(self, orders: Iterable[port.Order]) -> str:
        refs = [order.ref for order in orders]
        if not refs or not all(refs):
            return "an order has no ref"
        used = [ref for ref in refs if ref in self._ids or refs.count(ref) > 1]
        return f"the ref {used[0]} was used before" if used else ""

    def _swallow(self, orders: tuple[port.Order, ...]) -> bool:
        if orders[0].role not in self.whims.swallowed:
            return False
        self.whims.swallowed.discard(orders[0].role)
        return True

    def _take(self, order: port.Order, now: int) -> Live:
        self._count += 1
        live = Live(order, f"{self._count}", self.session, order.contracts)
        self._alive[live.broker_id] = live
        self._ids[order.ref] = live.broker_id
        return live

    def _fault(self, order: port.Order) -> tuple[str, str] | None:
        """Return code and reason why an order cannot be taken, or None."""
        close = self.closes.get(order.contract, (0, 0))[0]
        market = order.role in _MARKET
        parent = self._ids.get(order.parent) if order.parent is not None else ""
        found = (
            (order.contract not in self.ends, "contract", f"no contract {order.contract!r}"),
            (abs(order.side) != 1, "side", f"side {order.side}"),
            (not 1 <= order.contracts <= _MOST, "size", f"{order.contracts} contracts"),
            (market != (order.price is None), "price", f"{order.role.value} with price {order.price}"),
            (bool(close > 0 and order.price and not 0 < order.price < _FAR * close), "price", f"price {order.price}"),
            (parent is None, "parent", f"no order {order.parent!r}"),
        )
        return next(((code, why) for wrong, code, why in found if wrong), None)

    def _begin(self, live: Live, now: int) -> None:
        """Let an order get to work, unless it waits for its parent or its group is done."""
        parent = self._parent(live)
        if live.order.group in self._done:
            self._cancel(live, now, "oca", "another order of its group has filled")
        elif parent is not None and parent.filled == 0:
            if parent.status.ended:
                self._cancel(live, now, "parent", "its parent has ended")
        elif code := self.whims.refused.pop(live.order.role, ""):
            self._reject(live, now, code, "refused")
            self._end_children(live, now)
        else:
            live.status = port.Status.WORKING
            self.events.append(port.Working(ref=live.ref, broker_id=live.broker_id, time=now))

    def _parent(self, live: Live) -> Live | None:
        key = self._ids.get(live.order.parent or "", "")
        return self._alive.get(key) or self._ended.get(key)

    def _end(self, live: Live, status: port.Status, why: str = "") -> None:
        live.status, live.why = status, why
        self._ended[live.broker_id] = self._alive.pop(live.broker_id)

    def _reject(self, live: Live, now: int, code: str, why: str) -> None:
        self._end(live, port.Status.REJECTED, why)
        self.events.append(port.Rejected(ref=live.ref, time=now, code=code, why=why))

    def _cancel(self, live: Live, now: int, code: str, why: str) -> None:
        if live.status.ended:
            return
        self._end(live, port.Status.CANCELLED, why)
        self.events.append(port.Cancelled(ref=live.ref, time=now, code=code, why=why))
        if live.filled == 0:
            self._end_children(live, now)

    def _end_children(self, parent: Live, now: int) -> None:
        for live in self._each():
            if live.order.parent == parent.order.ref:
                self._cancel(live, now, "parent", "its parent has ended")

    def _each(self) -> Iterator[Live]:
        """Yield the orders that are alive, and still are when their turn comes."""
        return (live for live in list(self._alive.values()) if not live.status.ended)

    # Fills.

    def _market(self, order: port.Order, slot: Slot, now: int) -> tuple[int | None, int]:
        """Return where a market order fills in a slot, None if it does not, and when."""
        contract = order.contract
        carried = slot.carried.get(contract, 0)
        quote = slot.quotes.get(contract)
        if carried is None or self.ends[contract] < slot.number:
            if order.role is port.Role.EXIT and contract in self.closes:
                close, time = self.closes[contract]
                return close, time - 1  # in the bar that was its last
            return None, now
        if contract in slot.carried:
            return carried, now
        return (None if quote is None or contract in slot.waits else quote.open), now

    def _fill_open(self, live: Live, price: int, time: int) -> None:
        """Fill a market order, or the part of it that a whim leaves."""
        if live.order.role is port.Role.ENTRY and self.whims.partial is not None and live.left > 1:
            part, cancels = self.whims.partial
            self.whims.partial = None
            self._fill(live, min(part, live.left - 1), price, time)
            if cancels:
                self._cancel(live, time, "partial", "the rest was cancelled")
            return
        self._fill(live, live.left, price, time)

    def _fill(self, live: Live, contracts: int, price: int, time: int) -> None:
        live.filled += contracts
        order = live.order
        execution = self.account.book(
            ref=live.ref, broker_id=live.broker_id, contract=order.contract, side=order.side, contracts=contracts,
            price=price, time=time,
        )  # fmt: skip
        self.events.append(port.Filled(execution=execution, time=time))
        if live.left == 0:
            self._end(live, port.Status.FILLED)
            self._end_group(live, time)
        for child in self._each():
            if child.order.parent == order.ref and not live.foreign:
                self._follow(child, live, time)

    def _end_group(self, filled: Live, time: int) -> None:
        """Cancel the others of a group, and what is left of an entry whose stop or target has filled."""
        parent = self._parent(filled)
        if parent is not None:
            self._cancel(parent, time, "child", "its stop or target has filled")
        if filled.order.group is None:
            return
        self._done.add(filled.order.group)
        for live in self._each():
            if live.order.group == filled.order.group:
                self._cancel(live, time, "oca", "another order of its group has filled")

    def _follow(self, child: Live, parent: Live, time: int) -> None:
        """Let a child protect what its parent has filled so far, and no more."""
        contracts = min(child.order.contracts, parent.filled)
        if contracts != child.contracts:
            child.contracts = contracts
            self.events.append(port.Resized(ref=child.ref, contracts=contracts, time=time))
        if child.status is port.Status.PENDING:
            self._begin(child, time)


def _reached(order: port.Order, quote: Quote, slippage: int) -> int | None:
    """Return where a stop or a target fills in a bar, None where the bar does not reach it."""
    price, held = order.price or 0, -order.side  # the side of the position that it closes
    if order.role is port.Role.STOP:
        reached = quote.low <= price if held > 0 else quote.high >= price
        return rules.stop_fill(held, quote.open, price, slippage) if reached else None
    reached = quote.high >= price if held > 0 else quote.low <= price
    return rules.target_fill(held, quote.open, price) if reached else None
