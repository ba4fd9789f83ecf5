"""Whether a stop at the broker covers what is held, and what is done where none does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from mnqcore.api.port import Order, Role
from mnqcore.api.values import ExitReason
from mnqcore.trading.leaving import leave

if TYPE_CHECKING:
    from mnqcore.trading.memory import Memory
    from mnqcore.trading.orders import Tracked


@attrs.define(kw_only=True)
class Protection:
    """Looks after the stops of a session.

    `wanted`: whether the strategy's bracket sets stops. `patience`: seconds that a position may be without.
    `stuck`: seconds that a stop that was reached, or an exit, may take to fill.
    """

    memory: Memory
    wanted: bool
    patience: float
    stuck: float = 20.0
    _since: float | None = attrs.field(default=None, init=False)
    _orphaned: dict[str, float] = attrs.field(factory=dict, init=False)
    _reached: dict[str, float] = attrs.field(factory=dict, init=False)
    _leaving: dict[str, float] = attrs.field(factory=dict, init=False)
    _again: float = attrs.field(default=-math.inf, init=False)
    _tries: int = attrs.field(default=0, init=False)

    @property
    def covered(self) -> bool:
        """Whether stops at work cover all that is held."""
        orders = self.memory.orders
        return all(orders.cover(contract, side) >= abs(held) for contract, side, held in self._held())

    def _held(self) -> list[tuple[str, int, int]]:
        """Return contract, side and signed contracts of what there is to protect.

        Where trades that are none of ours explain what the broker holds, that is what is left of a position. A broker
        that merely says less may be wrong: no stop is cut for that.
        """
        memory, found = self.memory, []
        for contract, held in memory.orders.position().items():
            others = sum(one.side * one.contracts for one in memory.orders.foreign.values() if one.contract == contract)
            explained = memory.doubts.get(contract) == held + others
            found.append((contract, 1 if held > 0 else -1, memory.closable(contract) if explained else held))
        return found

    def look(self, bar: int) -> None:
        """Start the clock where a position lacks cover; flatten and halt where it has run out.

        `bar`: start of the newest bar, UTC ns, noted with what is sent.
        """
        held = self.memory.orders.position()
        if not held:
            self._since, self._again = None, -math.inf
            self._reached.clear()
            self._drop_orphans()
            return
        self._look_at_fills(bar)
        if self.memory.reducing:
            self._leave(bar)
        if not self.wanted or self.covered:
            self._since = None
            self._fit(bar)
            return
        if self._since is None:
            self._since = self.memory.mono
        if self.memory.mono - self._since >= self.patience:
            self.give_up("no working stop covers the position", bar)

    def touch(self, contract: str, prices: tuple[int, ...]) -> None:
        """Note which stops a bar has reached: open, high, low, close in ticks."""
        _, high, low, _ = prices
        for one in self.memory.orders.alive(Role.STOP):
            price = one.order.price
            if price is None or one.order.contract != contract or not one.at_work:
                continue
            if low <= price if one.order.side < 0 else high >= price:
                self._reached.setdefault(one.order.ref, self.memory.mono)

    def _look_at_fills(self, bar: int) -> None:
        """Leave what a stop should have closed; tell of an exit that does not fill."""
        orders, mono = self.memory.orders, self.memory.mono
        stops = {one.order.ref for one in orders.alive(Role.STOP)}
        self._reached = {ref: since for ref, since in self._reached.items() if ref in stops}
        for ref, since in self._reached.items():
            if mono - since >= self.stuck and not any(orders.alive(Role.EXIT)):
                self.give_up(f"stop {ref} was reached and does not fill", bar)
        exits = [one.order.ref for one in orders.alive(Role.EXIT)]
        self._leaving = {ref: self._leaving.get(ref, mono) for ref in exits}
        for ref, since in self._leaving.items():
            if mono - since >= self.stuck:
                self._leaving[ref] = math.inf
                self.memory.alert("error", f"exit {ref} does not fill: the position is still held")

    def lost(self, stop: Tracked, why: str, bar: int) -> None:
        """Put a stop that ended without our asking in its place again, once; the second time flatten and halt."""
        contract, held = stop.order.contract, self.memory.closable(stop.order.contract)
        if held * stop.order.side >= 0 or any(self.memory.orders.alive(Role.EXIT)) or not self.wanted:
            return
        again = any(
            one.order.parent is None and one.order.group == stop.order.group and one.order.role is Role.STOP
            for one in self.memory.orders.by_ref.values()
        )
        if again or stop.order.price is None:
            self.give_up(f"the stop was lost again: {why}", bar)
            return
        self.memory.alert("warning", f"the stop was lost ({why}) and is put in its place again")
        self._place(stop.order, contract, abs(held), bar)

    def refused(self, stop: Tracked, why: str, bar: int) -> None:
        """Flatten and halt: a stop was rejected; what it was to protect must not open either."""
        entry = self.memory.orders.by_ref.get(stop.order.parent or "")
        if self.memory.orders.position() or (entry is not None and entry.alive):
            self.give_up(f"the stop was rejected: {why}", bar)

    def give_up(self, why: str, bar: int) -> None:
        """Leave everything, once, and open nothing more."""
        memory = self.memory
        memory.drop_entries(why)
        self._leave(bar)
        memory.halt(f"{why}; the position is being closed")

    def _leave(self, bar: int) -> None:
        """Leave everything; where exits keep failing, after ever longer pauses."""
        memory = self.memory
        if memory.cut or any(memory.orders.alive(Role.EXIT)):
            return
        if memory.mono >= self._again:
            self._tries = 0 if memory.mono >= self._again + 60.0 else self._tries + 1
            self._again = memory.mono + min(2.0**self._tries, 60.0)
            leave(memory, bar=bar, reason=int(ExitReason.SIGNAL))

    def _fit(self, bar: int) -> None:
        """Cut stops that are for more than is held, once nothing can be added to it."""
        orders = self.memory.orders
        for contract, side, held in self._held():
            closing = [
                one
                for one in orders.alive(Role.STOP, Role.TARGET)
                if (one.order.contract, one.order.side) == (contract, -side)
            ]
            stops = [one for one in closing if one.order.role is Role.STOP and one.at_work]
            if any(orders.alive(Role.ENTRY)) or any(orders.alive(Role.EXIT)):
                continue
            if orders.cover(contract, side) <= abs(held) or any(one.cancelling for one in stops):
                continue
            fitting = next((one for one in reversed(stops) if one.remaining == abs(held)), None)
            if fitting is None and held:
                self._place(stops[-1].order, contract, abs(held), bar)
            for one in closing:
                if one.remaining > abs(held) or (one in stops and one is not fitting):
                    self.memory.cancel(one, "stops are for more than is held")

    def _place(self, like: Order, contract: str, contracts: int, bar: int) -> None:
        ref = self.memory.next_ref()
        stop = attrs.evolve(like, ref=f"{ref}.s", contract=contract, contracts=contracts, parent=None)
        self.memory.submit(stop, bar=bar)

    def _drop_orphans(self) -> None:
        """Cancel stops and targets of what is no longer held, once the broker has had the time to do so itself."""
        orders = self.memory.orders
        waiting = {one.order.ref for one in orders.alive(Role.ENTRY)}
        orphans = [one for one in orders.alive(Role.STOP, Role.TARGET) if one.order.parent not in waiting]
        self._orphaned = {one.order.ref: self._orphaned.get(one.order.ref, self.memory.mono) for one in orphans}
        for one in orphans:
            if self.memory.mono - self._orphaned[one.order.ref] >= self.patience:
                self.memory.cancel(one, "nothing is held any more")
