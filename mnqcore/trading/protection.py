"""Whether a stop at the broker covers what is held, and what is done where none does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.api.port import Order, Role
from mnqcore.api.values import ExitReason
from mnqcore.trading.leaving import drop_entries, leave

if TYPE_CHECKING:
    from mnqcore.trading.memory import Memory
    from mnqcore.trading.orders import Tracked


@attrs.define(kw_only=True)
class Protection:
    """Looks after the stops of a session.

    `wanted`: whether the strategy's bracket sets stops. `patience`: seconds that a position may be without.
    """

    memory: Memory
    wanted: bool
    patience: float
    _since: float | None = attrs.field(default=None, init=False)
    _orphaned: dict[str, float] = attrs.field(factory=dict, init=False)

    @property
    def covered(self) -> bool:
        """Whether stops at work cover all that is held."""
        orders = self.memory.orders
        return all(
            orders.cover(contract, 1 if held > 0 else -1) >= abs(held) for contract, held in orders.position().items()
        )

    def look(self, bar: int) -> None:
        """Start the clock where a position lacks cover; flatten and halt where it has run out.

        `bar`: start of the newest bar, UTC ns, noted with what is sent.
        """
        held = self.memory.orders.position()
        if not held:
            self._since = None
            self._drop_orphans()
            return
        if not self.wanted or self.covered:
            self._since = None
            self._fit(bar)
            return
        if self._since is None:
            self._since = self.memory.mono
        if self.memory.mono - self._since >= self.patience:
            self.give_up("no working stop covers the position", bar)

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

    def refused(self, why: str, bar: int) -> None:
        """Flatten and halt: a stop was rejected."""
        if self.memory.orders.position():
            self.give_up(f"the stop was rejected: {why}", bar)

    def give_up(self, why: str, bar: int) -> None:
        """Leave everything, once, and open nothing more."""
        memory = self.memory
        drop_entries(memory, why)
        leave(memory, bar=bar, reason=int(ExitReason.SIGNAL))
        memory.halt(f"{why}; the position is being closed")

    def _fit(self, bar: int) -> None:
        """Cut stops that are for more than is held, once nothing can be added to it."""
        orders = self.memory.orders
        for contract, held in orders.position().items():
            side = 1 if held > 0 else -1
            stops = [one for one in orders.alive(Role.STOP) if one.order.contract == contract and one.at_work]
            if any(orders.alive(Role.ENTRY)) or any(orders.alive(Role.EXIT)):
                continue
            if orders.cover(contract, side) <= abs(held) or any(one.cancelling for one in stops):
                continue
            self._place(stops[-1].order, contract, abs(held), bar)
            for one in stops:
                self.memory.cancel(one, "it is for more than is held")

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
