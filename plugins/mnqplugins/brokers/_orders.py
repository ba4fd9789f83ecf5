"""The orders of the simulated broker: how they come, wait for each other, and end. No clock, no I/O.

Stop and target wait for the entry and are never for more than it has filled. Orders of one group cancel each other
once one of them has filled wholly. Nothing reduces only: two exits that both fill turn the position round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore import port
from mnqplugins.brokers._account import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_MOST = 10_000
"""Contracts of one order."""
_FAR = 10
"""Times the last close: no price may lie beyond."""
_MARKET = (port.Role.ENTRY, port.Role.EXIT)


@attrs.define(eq=False)
class Live:
    """An order at the broker; `contracts` is what it is for now, `session` the one in which it came."""

    order: port.Order
    broker_id: str
    session: int
    contracts: int
    filled: int = 0
    status: port.Status = port.Status.PENDING
    why: str = ""
    foreign: bool = False
    parked: bool = False

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


class Orders:
    """All orders of an account; what happens to them is appended to `events`.

    Args:
        contracts: what can be traded.
    """

    def __init__(self, contracts: Collection[str]) -> None:
        self.contracts = contracts
        self.events: list[port.Event] = []
        self.session = 0
        self.closes: dict[str, tuple[int, int]] = {}
        """contract -> its last close in ticks, and when that bar closed."""
        self.refused: dict[port.Role, str] = {}
        """role -> code with which the next such order is rejected when it would get to work."""
        self.swallowed: set[port.Role] = set()
        """Roles of which the next order is lost without a word, with what was sent with it."""
        self._alive: dict[str, Live] = {}
        """broker's id -> order that may still fill, in the order in which they came."""
        self._ended: dict[str, Live] = {}
        self._ids: dict[str, str] = {}
        """ref -> broker's id, of all orders ever."""
        self._done: set[str] = set()
        """Groups of which an order has filled."""
        self._count = 0

    def __iter__(self) -> Iterator[Live]:
        """Yield the orders that are alive, and still are when their turn comes."""
        return (live for live in list(self._alive.values()) if not live.status.ended)

    @property
    def open(self) -> list[port.OrderState]:
        """The orders that may still fill."""
        return [live.state for live in self._alive.values()]

    @property
    def completed(self) -> list[port.OrderState]:
        """The orders that have ended, the last that are remembered."""
        return [live.state for live in self._ended.values()]

    def next_id(self) -> str:
        """Return a broker's id that no order has had."""
        self._count += 1
        return str(self._count)

    # They come.

    def submit(self, orders: tuple[port.Order, ...], now: int) -> None:
        """Take orders as one: all of them, or none with the reason. ValueError: a ref is missing or was used before."""
        if wrong := self._misnamed(orders):
            raise ValueError(wrong)
        if orders[0].role in self.swallowed:
            self.swallowed.discard(orders[0].role)
            return
        taken = [self._take(order) for order in orders]
        fault = next(filter(None, map(self._fault, orders)), None)
        for live in taken:
            if fault:
                self._reject(live, now, *fault)
            else:
                self.events.append(port.Accepted(ref=live.ref, broker_id=live.broker_id, time=now))
        for live in taken:
            if live.status is port.Status.PENDING:
                self._begin(live, now)

    def foreign(self, contract: str, signed: int, price: int) -> None:
        """Take a limit order that is none of ours."""
        order = port.Order(
            ref=f"foreign {self._count}", role=port.Role.TARGET, contract=contract, side=1 if signed > 0 else -1,
            contracts=abs(signed), price=price,
        )  # fmt: skip
        live = self._take(order)
        live.foreign, live.status = True, port.Status.WORKING

    def _misnamed(self, orders: Iterable[port.Order]) -> str:
        refs = [order.ref for order in orders]
        if not refs or not all(refs):
            return "an order has no ref"
        used = [ref for ref in refs if ref in self._ids or refs.count(ref) > 1]
        return f"the ref {used[0]!r} was used before" if used else ""

    def _take(self, order: port.Order) -> Live:
        live = Live(order, self.next_id(), self.session, order.contracts)
        self._alive[live.broker_id] = live
        self._ids[order.ref] = live.broker_id
        return live

    def _fault(self, order: port.Order) -> tuple[str, str] | None:
        """Return code and reason why an order cannot be taken, or None."""
        close = self.closes.get(order.contract, (0, 0))[0]
        market, price = order.role in _MARKET, order.price
        found = (
            (order.contract not in self.contracts, "contract", f"no contract {order.contract!r}"),
            (abs(order.side) != 1, "side", f"side {order.side}"),
            (not 1 <= order.contracts <= _MOST, "size", f"{order.contracts} contracts"),
            (market != (price is None), "price", f"{order.role.value} with price {price}"),
            (price is not None and close > 0 and not 0 < price < _FAR * close, "price", f"price {price}"),
            (order.parent is not None and order.parent not in self._ids, "parent", f"no order {order.parent!r}"),
        )
        return next(((code, why) for wrong, code, why in found if wrong), None)

    def _begin(self, live: Live, now: int) -> None:
        """Let an order get to work, unless it waits for its parent or its group is done."""
        parent = self._parent(live)
        if live.order.group in self._done:
            self.cancel(live, now, "oca", "another order of its group has filled")
        elif parent is not None and parent.filled == 0:
            if parent.status.ended:
                self.cancel(live, now, "parent", "its parent has ended")
        elif code := self.refused.pop(live.order.role, ""):
            self._reject(live, now, code, "refused")
            self._end_children(live, now)
        else:
            live.status = port.Status.WORKING
            self.events.append(port.Working(ref=live.ref, broker_id=live.broker_id, time=now))

    # They end.

    def cancel_ref(self, ref: str, now: int) -> None:
        """Cancel an order of ours; where there is nothing to cancel, the answer is Unknown."""
        live = self._alive.get(self._ids.get(ref, ""))
        if live is not None and not live.foreign:
            self.cancel(live, now, "", "asked for")
        elif ref in self._ids:
            self.events.append(port.Unknown(ref=ref, time=now, code="ended", why="the order has ended"))
        else:
            self.events.append(port.Unknown(ref=ref, time=now, code="no-order", why="no order of that ref"))

    def cancel(self, live: Live, now: int, code: str, why: str) -> None:
        """Cancel an order, and what waits for it."""
        if live.status.ended:
            return
        self._end(live, port.Status.CANCELLED, why)
        self.events.append(port.Cancelled(ref=live.ref, time=now, code=code, why=why))
        if live.filled == 0:
            self._end_children(live, now)

    def park(self, live: Live, now: int) -> None:
        """Take an order from work without ending it."""
        live.status, live.parked, live.why = port.Status.PENDING, True, "parked"
        self.events.append(port.Parked(ref=live.ref, broker_id=live.broker_id, time=now, why="not at work yet"))

    def filled(self, live: Live, contracts: int, now: int) -> None:
        """Note a fill: the group is done once it is whole, children protect what there is."""
        live.filled += contracts
        if live.left == 0:
            self._end(live, port.Status.FILLED)
            self._end_group(live, now)
        for child in self:
            if child.order.parent == live.order.ref:
                self._follow(child, live, now)

    def forget(self) -> None:
        """Let go of the oldest orders that have ended."""
        for key in list(self._ended)[: max(len(self._ended) - 2 * REMEMBERED, 0)]:
            del self._ended[key]

    def _end(self, live: Live, status: port.Status, why: str = "") -> None:
        live.status, live.why = status, why
        self._ended[live.broker_id] = self._alive.pop(live.broker_id)

    def _reject(self, live: Live, now: int, code: str, why: str) -> None:
        self._end(live, port.Status.REJECTED, why)
        self.events.append(port.Rejected(ref=live.ref, time=now, code=code, why=why))

    def _end_children(self, parent: Live, now: int) -> None:
        for live in self:
            if live.order.parent == parent.order.ref:
                self.cancel(live, now, "parent", "its parent has ended")

    def _end_group(self, filled: Live, now: int) -> None:
        """Cancel the others of a group, and what is left of an entry whose stop or target has filled."""
        parent = self._parent(filled)
        if parent is not None:
            self.cancel(parent, now, "child", "its stop or target has filled")
        if filled.order.group is None:
            return
        self._done.add(filled.order.group)
        for live in self:
            if live.order.group == filled.order.group:
                self.cancel(live, now, "oca", "another order of its group has filled")

    def _follow(self, child: Live, parent: Live, now: int) -> None:
        """Let a child protect what its parent has filled so far, and no more."""
        contracts = min(child.order.contracts, parent.filled)
        if contracts != child.contracts:
            child.contracts = contracts
            self.events.append(port.Resized(ref=child.ref, contracts=contracts, time=now))
        if child.status is port.Status.PENDING and not child.parked:
            self._begin(child, now)

    def _parent(self, live: Live) -> Live | None:
        key = self._ids.get(live.order.parent or "", "")
        return self._alive.get(key) or self._ended.get(key)
