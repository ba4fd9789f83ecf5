"""What a session remembers and is about to do: orders, books, state, and an outbox that opens once the journal has it.

Whatever happens is noted first. `commit` writes the notes in one piece and only then hands out what was decided on
them, so that nothing is sent that a restart would not know of.
"""

from __future__ import annotations

import collections
import math
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import BracketOrder, Order, Role
from mnqcore.api.values import ExitReason
from mnqcore.errors import JournalBroken
from mnqcore.trading.books import Fill
from mnqcore.trading.journal import Entry
from mnqcore.trading.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqcore.api.port import Charged, Execution
    from mnqcore.trading.books import Books
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.orders import Change, Orders, Tracked


class State(Enum):
    """How a session stands. Only ACTIVE opens risk; HALTED needs a person."""

    DISCONNECTED = "DISCONNECTED"
    CONNECTING = "CONNECTING"
    RECONCILING = "RECONCILING"
    ACTIVE = "ACTIVE"
    DEGRADED = "DEGRADED"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


@attrs.frozen
class Submit:
    """Send these orders as one."""

    bracket: BracketOrder

    @property
    def opens(self) -> bool:
        """Whether it may open a position."""
        return any(order.role is Role.ENTRY for order in self.bracket.orders)


@attrs.frozen
class Cancel:
    """Ask the broker to cancel an order."""

    ref: str


@attrs.frozen
class Query:
    """Ask the broker and compare: for all it knows, or, unless `whole`, only for its positions."""

    why: str
    whole: bool = True


@attrs.frozen
class Alert:
    """Tell a person."""

    level: str
    message: str


@attrs.frozen
class Closed:
    """A round trip has ended: fields of the simulator's TRADE."""

    trade: Mapping[str, int]


Effect = Submit | Cancel | Query | Alert | Closed
"""What a session wants done."""
_GAP = 100
"""Refs left out after a restart, until the broker says which were used: a broken journal may lack some."""
_REASONS = {Role.STOP: int(ExitReason.STOP), Role.TARGET: int(ExitReason.TARGET)}


@attrs.define(kw_only=True)
class Memory:
    """The session's memory.

    `session`: eight hex digits that begin its refs; `number`: of the last one used. `now`: the session's clock, UTC ns;
    `mono`: seconds that only ever rise. `reducing`: nothing is opened and all is left until a person resumes.
    `cut`: the broker cannot be reached. `unsure`: why the broker must be asked before anything is opened, or left a
    second time. `sent_at`: ref -> `mono` when it went out, while it is not answered; `cancelled_at`: the same of
    cancellations. `entries_sent`: (time, trading day) of each entry.
    """

    journal: Journal
    orders: Orders
    books: Books
    session: str
    number: int = 0
    state: State = State.DISCONNECTED
    why: str = ""
    now: int = 0
    mono: float = 0.0
    rejections: int = 0
    reducing: bool = False
    asked: bool = False
    """The broker has answered since this process began."""
    cut: bool = False
    unsure: str = ""
    sent_at: dict[str, float] = attrs.field(factory=dict)
    cancelled_at: dict[str, float] = attrs.field(factory=dict)
    doubts: dict[str, int] = attrs.field(factory=dict)
    """Contract -> signed contracts that the broker holds of it, where that is not what our fills made."""
    entries_sent: collections.deque[tuple[int, int]] = attrs.field(factory=lambda: collections.deque(maxlen=5_000))
    _notes: list[Entry] = attrs.field(factory=list)
    _unwritten: list[Entry] = attrs.field(factory=list)
    _tried: int = 0  # how many of them the write held that failed
    _outbox: list[Effect] = attrs.field(factory=list)

    def note(self, kind: str, **data: Any) -> None:
        """Remember something for the journal."""
        self._notes.append(Entry(kind, data))

    def turn(self, state: State, why: str) -> None:
        """Change the state; HALTED is left only by `resume`, and so is REDUCING for ACTIVE."""
        self.reducing = self.reducing or state is State.REDUCING
        if state is State.ACTIVE and self.reducing:
            state = State.REDUCING
        if state is self.state or self.state is State.HALTED:
            return
        self.state, self.why = state, why
        self.note("state", state=state.value, why=why)

    def halt(self, why: str) -> None:
        """Open nothing any more until a person says so, by orders that are at work neither."""
        if self.state is not State.HALTED:
            self.turn(State.HALTED, why)
            self.alert("error", f"HALTED: {why}")
        self.drop_entries(why)

    def resume(self, why: str) -> None:
        """Leave HALTED, by a person's word; everything is compared with the broker first."""
        self.state, self.why, self.rejections, self.reducing = State.RECONCILING, why, 0, False
        self.note("state", state=self.state.value, why=why)
        self.ask(why)

    def alert(self, level: str, message: str) -> None:
        """Tell a person."""
        self.note("alert", level=level, message=message)
        self._outbox.append(Alert(level, message))

    def ask(self, why: str, *, whole: bool = True) -> None:
        """Ask the broker for all it knows, or for its positions."""
        if Query(why, whole) not in self._outbox:
            self._outbox.append(Query(why, whole))

    def closed(self, trade: Mapping[str, int]) -> None:
        """Tell of a round trip."""
        self._outbox.append(Closed(trade))

    def owe(self, change: Change) -> None:
        """Keep what an execution changed until its bar closes and the books take it in."""
        tracked, order = change.tracked, change.tracked.order
        stop, target = (self.orders.by_ref.get(f"{order.ref}.{suffix}") for suffix in ("s", "t"))
        fill = Fill(
            ref=order.ref,
            role=order.role,
            side=1 if change.contracts > 0 else -1,
            contracts=abs(change.contracts),
            price=change.execution.price,
            time=change.execution.time,
            reason=_REASONS.get(order.role, tracked.reason),
            stop=stop.order.price if stop else None,
            target=target.order.price if target else None,
            risk=tracked.risk,
        )
        self.books.pending.append(fill)
        key, fees = change.execution.id, self.orders.fees
        self.orders.counted[key] = self.orders.counted.get(key, 0) + self.books.fee(fill.contracts, fill.price)
        if key in fees:
            self._charge(tracked, key, fees[key])

    def charged(self, event: Charged) -> None:
        """Correct the books where the broker charged something else than was reckoned."""
        tracked = self.orders.of_execution(event.execution)
        if tracked is not None:  # else it is known once the fill is
            self._charge(tracked, event.execution, event.commission)

    def _charge(self, tracked: Tracked, execution: str, commission: int) -> None:
        more = commission - self.orders.counted.get(execution, 0)
        self.orders.counted[execution] = commission
        if more:
            self.books.correct(more, opening=tracked.order.role is Role.ENTRY)

    def restated(self, change: Change) -> None:
        """Take in what a correction changes: contracts as a fill of their own, a price as money."""
        execution = change.execution
        if change.contracts:
            self.owe(change)
        before = execution.contracts - execution.side * change.contracts
        ticks = execution.side * (execution.price - change.before_price) * before
        if ticks:
            amount = ticks * int(self.books.law["tick_micros"][0])
            self.books.correct(amount, opening=change.tracked.order.role is Role.ENTRY)

    def moved(self, execution: Execution, contracts: int, *, ours: bool) -> None:
        """Take in what a fill means for what the broker holds, before it is asked.

        `contracts`: signed, by which its position changed.
        """
        contract = execution.contract
        if contract in self.doubts:
            self.doubts[contract] += contracts
        elif not ours:
            self.doubts[contract] = self.orders.position().get(contract, 0) + contracts

    def closable(self, contract: str) -> int:
        """Return the signed contracts that may be closed: what our fills made, and no more than the broker holds.

        An order that closes what is not there would open a position.
        """
        held = self.orders.position().get(contract, 0)
        theirs = self.doubts.get(contract, held)
        if held * theirs <= 0:
            return 0
        return min(held, theirs) if held > 0 else max(held, theirs)

    def next_ref(self) -> str:
        """Return a ref that was never used."""
        self.number += 1 if self.asked or not self.number else _GAP
        return f"{self.session}-{self.number}"

    def submit(self, *orders: Order, bar: int, reason: int = 0, risk: int = 0) -> None:
        """Intend orders and have them sent as one once the journal holds the intent."""
        for order in orders:
            self._intend(order, bar, reason, risk if order.role is Role.ENTRY else 0)
        self.sent_at |= dict.fromkeys((order.ref for order in orders), self.mono)
        self._outbox.append(Submit(BracketOrder(orders=orders)))

    def claim(self, order: Order, *, bar: int) -> None:
        """Take an order for ours that the broker has under our ref, and that the journal does not tell of."""
        self._intend(order, bar, int(ExitReason.SIGNAL) if order.role is Role.EXIT else 0, 0)
        self.alert("warning", f"{order.ref} left while the journal could not be written: it is ours")

    def _intend(self, order: Order, bar: int, reason: int, risk: int) -> None:
        self.orders.intend(order, bar=bar, reason=reason, risk=risk)
        self.note("intent", **attrs.asdict(order, value_serializer=_plain), bar=bar, reason=reason, risk=risk)
        self.orders.mark_sent([order.ref])

    def cancel(self, tracked: Tracked, why: str) -> None:
        """Ask once for an order to be cancelled."""
        if tracked.alive and not tracked.cancelling:
            tracked.cancelling = True
            self.note("cancel", ref=tracked.order.ref, why=why)
            self._ask_cancel(tracked.order.ref)

    def cancel_again(self, tracked: Tracked, patience: float) -> None:
        """Ask again where the broker still has an order that it was asked to cancel: it may not have heard it."""
        ref = tracked.order.ref
        if tracked.alive and tracked.cancelling and self.mono - self.cancelled_at.get(ref, -math.inf) >= patience:
            self._ask_cancel(ref)

    def drop_entries(self, why: str) -> None:
        """Ask for every entry that may still fill to be cancelled."""
        for tracked in list(self.orders.alive(Role.ENTRY)):
            self.cancel(tracked, why)

    def _ask_cancel(self, ref: str) -> None:
        self.cancelled_at[ref] = self.mono
        self._outbox.append(Cancel(ref))

    def sent_on(self, day: int) -> int:
        """Return how many entries were sent on a trading day."""
        return sum(1 for _, on in self.entries_sent if on == day)

    def sent_last_minute(self) -> int:
        """Return how many entries were sent in the last minute of the session's clock."""
        return sum(1 for time, _ in self.entries_sent if time > self.now - 60 * SECOND)

    def commit(self) -> list[Effect]:
        """Write what was noted, and return what is to be done.

        An entry is handed out only while the session is ACTIVE and once its intent is written. Where the journal cannot
        be written the session halts: orders that reduce, and cancellations, go on from memory, and what was noted is
        kept until it can be written.
        """
        if self.state is not State.ACTIVE:
            self._withdraw()
        if not self._write():
            self.halt(f"the journal cannot be written: {self.journal.trouble}")
            self._withdraw()
            self._unwritten += self._notes
            self._notes = []
        effects, self._outbox = self._outbox, []
        return effects

    def mend(self) -> None:
        """Try whether a broken journal can be written again; what it has missed is written then."""
        if not self.journal.broken:
            return
        before = self.journal.newest
        if not self.journal.retry():
            return
        if self.journal.newest > before:  # what seemed to fail was written
            del self._unwritten[: self._tried]
        self._tried = 0
        self.alert("warning", f"the journal can be written again, {len(self._unwritten)} events late")

    def _write(self) -> bool:
        """Write what was noted, and before it what could not be written."""
        if self.journal.broken:
            return not self._notes
        notes = self._unwritten + self._notes
        try:
            self.journal.write(*notes, now=self.now)
        except JournalBroken:
            self._unwritten, self._notes, self._tried = notes, [], len(notes)
            return False
        self._unwritten, self._notes = [], []
        return True

    def _withdraw(self) -> None:
        """Take back entries that were about to be sent, with what goes with them."""
        found = [one for one in self._outbox if isinstance(one, Submit) and one.opens]
        refs = [order.ref for one in found for order in one.bracket.orders]
        if not refs:
            return
        for ref in refs:
            self.orders.never_sent(ref)
            self.sent_at.pop(ref, None)
        self._outbox = [
            one for one in self._outbox if one not in found and not (isinstance(one, Cancel) and one.ref in refs)
        ]
        self.note("event", type="NotSent", refs=refs, why=f"the session is {self.state.value}")


def _plain(_instance: type, _field: attrs.Attribute[Any] | None, value: Any) -> Any:
    """Return a value as JSON holds it."""
    return value.value if isinstance(value, Enum) else value
