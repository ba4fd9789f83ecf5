"""The heart of a session, without any input or output: bars, broker events, time and a person's words in, effects out.

Every method takes the time, notes what happened, decides, and returns what is to be done once the journal holds it.
The same code runs in replay, watch, paper and live, and after a restart.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from mnqcore.api.port import (
    Cancelled,
    Charged,
    Disconnected,
    Filled,
    Order,
    Rejected,
    Restored,
    Role,
    Status,
    Unknown,
    Warned,
)
from mnqcore.api.values import Action, ExitReason
from mnqcore.errors import MnqError, PluginError
from mnqcore.market.bars import PRICES
from mnqcore.trading import fills
from mnqcore.trading.leaving import leave
from mnqcore.trading.losses import Losses
from mnqcore.trading.memory import State
from mnqcore.trading.world import SECOND, Situation, latches, refused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.api.port import Event
    from mnqcore.strategy.model import Strategy
    from mnqcore.trading.books import Decision
    from mnqcore.trading.clockwork import Clockwork
    from mnqcore.trading.memory import Effect, Memory
    from mnqcore.trading.protection import Protection

    Records = NDArray[np.void]


@attrs.frozen(kw_only=True, eq=False)
class Row:
    """A closed bar as a decision needs it.

    `start`, `end`: UTC ns. `number`: running, of the session's bars. `contract`: whose bar it is. `now`, `order`: BAR
    and ORDER (1,). `prices`: open, high, low, close in ticks. `features`: as computed, not scaled.
    `decides`: it is fresh, and nothing was decided at it before.
    """

    start: int
    end: int
    number: int
    contract: str
    now: Records
    order: Records
    prices: tuple[int, ...]
    volume: float
    features: list[float | None]
    decides: bool = True

    @property
    def close(self) -> int:
        """Its close, ticks."""
        return self.prices[3]


class Mind(Protocol):
    """Chooses actions: a rule that has done so already, or a trained model."""

    def act(self, row: Row, seen: NDArray[np.float32]) -> int:
        """Return the action at the close of a bar; `seen` is the position as an agent sees it."""
        ...


@attrs.frozen(kw_only=True)
class Standing:
    """What is known of account and contract beside the market. Money in micro-units.

    `available`: what the broker lets us bind as margin, None if it does not say. `skew`: seconds by which its clock is
    ahead. `days_left`: trading days to the last one, of the contract that has the fewest. Complaints: why they are not
    the agreed ones.
    """

    available: int | None = None
    skew: float = 0.0
    days_left: int | None = None
    contract_complaint: str = ""
    account_complaint: str = ""


@attrs.define(kw_only=True)
class Desk:
    """One strategy at one account.

    `standing`: refreshed whenever the broker is asked.
    """

    strategy: Strategy
    mode: str
    memory: Memory
    clock: Clockwork
    protection: Protection
    mind: Mind
    standing: Standing = attrs.field(factory=Standing)
    last: Row | None = None
    """The newest bar that has closed."""
    doubted: bool = False
    """Broker and journal differed when they were compared last."""
    failures: int = 0
    """Decisions in a row that failed or were late."""
    losses: Losses = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.losses = Losses(
            memory=self.memory,
            protection=self.protection,
            limits=self.strategy.trade.limits,
            live=self.mode == "live",
        )

    # Bars.

    def bar(self, row: Row, now: int, mono: float) -> list[Effect]:
        """Take in a closed bar: book its fills, mark the ledger, decide, and send what comes of it."""
        memory = self._at(now, mono)
        fills.slipped(self, row)
        booked = memory.books.close(row.now, row.end)
        self.last = row
        self.protection.touch(row.contract, row.prices)
        if row.decides and memory.state is State.DEGRADED:
            memory.turn(State.ACTIVE, "bars come again")
        taken: tuple[Decision, dict[str, Any]] | None = None
        if row.decides and not memory.books.ledger["done"][0]:
            taken = self._decide(row)
        memory.note(
            "bar",
            time=row.start,
            end=row.end,
            number=row.number,
            contract=row.contract,
            **dict(zip(PRICES, row.prices, strict=True)),
            volume=row.volume,
            decides=row.decides,
            ledger=memory.books.state(),
            booked=booked,
        )
        for trade in booked:
            memory.closed(trade)
        self.losses.closed(row.start)
        if taken is not None:
            decision, noted = taken
            denied = self._act(row, decision)
            memory.note("decision", **noted, world=[one.code for one in denied])
        self.protection.look(row.start)
        return memory.commit()

    def silent(self, start: int, now: int, mono: float) -> list[Effect]:
        """Take in that a slot has passed without a bar: what the clock wants flat is left all the same."""
        self._at(now, mono)
        self._obey_clock(start)
        self.protection.look(start)
        return self.memory.commit()

    def _decide(self, row: Row) -> tuple[Decision, dict[str, Any]]:
        """Return what market rules and sizer make of the agent's action, and what is noted of it."""
        books = self.memory.books
        seen = books.seen()
        began = time.perf_counter()
        failures = self.failures
        action = self._action(row, seen)
        took = time.perf_counter() - began
        if took > self.strategy.trade.limits.decision_seconds:
            self._failed(f"the decision took {took:.1f} s")
            action = int(Action.HOLD)
        if self.failures == failures:
            self.failures = 0
        decision = books.decide(row.now, row.order, self._following(row), action)
        noted = {
            "bar": row.start,
            "number": row.number,
            "features": row.features,
            "position": [float(value) for value in seen],
            "action": action,
            "exit": decision.exit,
            "side": decision.side,
            "contracts": decision.contracts,
            "stop": decision.stop,
            "target": decision.target,
            "denied": decision.denied,
            "took": round(took, 6),
        }
        return decision, noted

    def _action(self, row: Row, seen: NDArray[np.float32]) -> int:
        """Return the agent's action; HOLD where it fails, and after too many failures the session halts."""
        try:
            action = int(self.mind.act(row, seen))
            if not 0 <= action <= max(Action):
                raise PluginError(f"the agent chose {action}, which is no action")
        except MnqError as error:
            self._failed(error.what)
            return int(Action.HOLD)
        except (Exception, SystemExit) as error:  # a plugin's: its stop at the broker must outlive it
            self._failed(f"the agent raised {type(error).__name__}: {error}")
            return int(Action.HOLD)
        return action

    def _failed(self, why: str) -> None:
        self.failures += 1
        self.memory.alert("warning", f"no decision: {why}")
        if self.failures >= self.strategy.trade.limits.bad_decisions:
            self.memory.halt(f"{self.failures} decisions in a row failed: {why}")

    def _following(self, row: Row) -> Records:
        import numpy as np

        return np.array([self.clock.following(row.start)], row.now.dtype)

    def _act(self, row: Row, decision: Decision) -> list[Any]:
        """Send what a decision comes to; returns the world rules that refused its entry."""
        if decision.exit:
            if decision.exit != ExitReason.SIGNAL:
                self.memory.drop_entries(ExitReason(decision.exit).label)
            leave(self.memory, bar=row.start, reason=decision.exit)
        self._drop_late_entries(row.start)
        if not decision.contracts:
            return []
        denied = refused(self._situation(row, decision), self.strategy.trade.limits)
        for one in denied:
            self.memory.note("denied", bar=row.start, **attrs.asdict(one))
        if latch := latches(denied):
            self.memory.halt(f"{latch.code}: {latch.found}, the limit is {latch.limit}")
        if not denied:
            self._enter(row, decision)
        return denied

    def _enter(self, row: Row, decision: Decision) -> None:
        ref, side, contracts = self.memory.next_ref(), decision.side, decision.contracts
        orders = [Order(ref=ref, role=Role.ENTRY, contract=row.contract, side=side, contracts=contracts)]
        for role, price, suffix in ((Role.STOP, decision.stop, "s"), (Role.TARGET, decision.target, "t")):
            if price is not None:
                child = attrs.evolve(orders[0], ref=f"{ref}.{suffix}", role=role, side=-side, price=price)
                orders.append(attrs.evolve(child, parent=ref, group=f"{ref}.g"))
        self.memory.submit(*orders, bar=row.start, risk=decision.risk)
        self.memory.entries_sent.append((self.memory.now, self.clock.trading_day(self.memory.now)))

    def _situation(self, row: Row, decision: Decision) -> Situation:
        memory, standing, risk = self.memory, self.standing, self.strategy.risk
        orders = memory.orders
        return Situation(
            state=memory.state.value,
            mode=self.mode,
            now=memory.now,
            closed=row.end,
            in_session=self.clock.in_session(row.end - 1),
            side=decision.side,
            contracts=decision.contracts,
            close=row.close,
            stop=decision.stop,
            target=decision.target,
            exposed=orders.exposed(row.contract, decision.side),
            max_position=risk.max_position,
            margin=self.strategy.instrument.margin_micros,
            available=standing.available,
            sent_minute=memory.sent_last_minute(),
            sent_day=memory.sent_on(self.clock.trading_day(memory.now)),
            repeated=orders.entered_at(row.start),
            skew=standing.skew,
            days_left=standing.days_left,
            contract_complaint=standing.contract_complaint,
            account_complaint=standing.account_complaint,
            unsettled=sum(one.status is Status.UNKNOWN for one in orders.unsettled()),
            reconciled=not (memory.unsure or self.doubted),
            journal=not memory.journal.broken,
        )

    # Broker events.

    def event(self, event: Event, now: int, mono: float) -> list[Effect]:
        """Take in what the broker says, once for each thing that happened."""
        self._at(now, mono)
        self.hear(event)
        self.protection.look(self.newest())
        return self.memory.commit()

    def hear(self, event: Event) -> bool:
        """Take in an event without handing out what comes of it; returns False where it was heard before."""
        memory = self.memory
        if isinstance(event, Filled) and memory.orders.heard(event.execution):
            return False
        ref = event.execution.ref if isinstance(event, Filled) else getattr(event, "ref", "")
        tracked = memory.orders.by_ref.get(ref)
        over, given_up = tracked is not None and tracked.status.ended, tracked is not None and tracked.given_up
        memory.note("event", type=type(event).__name__, **attrs.asdict(event))
        change = memory.orders.apply(event)
        memory.sent_at.pop(ref, None)
        if tracked is not None and given_up and not tracked.given_up:
            memory.halt(f"{ref} was given up, and the broker has it")
        if isinstance(event, Filled):
            fills.filled(self, event, change)
        elif isinstance(event, (Cancelled, Rejected, Unknown)):
            if given_up or not over:
                self._ended(event)
        elif isinstance(event, Charged):
            fills.charged(self, event)
        elif isinstance(event, Disconnected):
            memory.cut = True
            memory.turn(State.DISCONNECTED, event.why or "the broker cannot be reached")
        elif isinstance(event, Restored):
            memory.cut = False
            memory.turn(State.RECONCILING, "the broker can be reached again")
            memory.ask("restored")
        elif isinstance(event, Warned):
            self._warned(event)
        return True

    def _ended(self, event: Cancelled | Rejected | Unknown) -> None:
        memory, limits = self.memory, self.strategy.trade.limits
        tracked = memory.orders.by_ref.get(event.ref)
        if tracked is None:
            return
        why = " ".join(part for part in (event.code, event.why) if part) or type(event).__name__.lower()
        role = tracked.order.role
        if role in (Role.ENTRY, Role.EXIT):  # it may have filled before
            memory.unsure = f"{event.ref} has ended: {why}"
            memory.ask(memory.unsure)
        if isinstance(event, Unknown):
            memory.alert("warning", f"it is not known how {event.ref} stands: {why}")
            memory.ask(f"{event.ref} is unknown")
        elif isinstance(event, Rejected):
            memory.rejections += 1
            memory.alert("warning", f"the broker rejected {role.value} {event.ref}: {why}")
            if role is Role.STOP:
                self.protection.refused(tracked, why, self.newest())
            if memory.rejections >= limits.max_rejections:
                memory.halt(f"{memory.rejections} orders in a row were rejected: {why}")
        elif role is Role.STOP and not tracked.cancelling and tracked.filled < tracked.contracts:
            self.protection.lost(tracked, why, self.newest())

    def _warned(self, event: Warned) -> None:
        text = " ".join(part for part in (event.code, event.why) if part)
        if event.stop:
            self.memory.halt(text)
        else:
            self.memory.alert("warning", text)

    # Time.

    def tick(self, now: int, mono: float) -> list[Effect]:
        """Take in that time has passed: stale bars, orders without an answer, stops that are missing."""
        memory, limits = self._at(now, mono), self.strategy.trade.limits
        memory.mend()
        if self.last is not None and self.mode != "replay":
            due = self.clock.slot_end(self.clock.next_slot(self.last.start))
            if now > due + int(limits.max_bar_age * SECOND):
                if memory.state in (State.ACTIVE, State.REDUCING):
                    memory.turn(State.DEGRADED, "no bar has come")
                missed = self.clock.slots_between(self.last.start, now - int(limits.max_bar_age * SECOND))
                self._obey_clock(missed[-1] if missed else self.last.start)
        self._chase(limits.ack_seconds)
        self.protection.look(self.newest())
        return memory.commit()

    def _chase(self, patience: float) -> None:
        """Ask for orders that the broker leaves unanswered; after so many questions they count as unknown."""
        memory = self.memory
        for ref, since in list(memory.sent_at.items()):
            asked = int((memory.mono - since) / patience)
            tracked = memory.orders.by_ref.get(ref)
            if tracked is None or tracked.acked or tracked.status.ended:
                memory.sent_at.pop(ref, None)
            elif asked > self.strategy.trade.limits.queries:
                memory.sent_at.pop(ref)
                tracked.status = Status.UNKNOWN
                memory.note("event", type="Unknown", ref=ref, time=memory.now, code="silence", why="it never answered")
                memory.halt(f"the broker never answered to {ref}")
            elif asked > 0:
                memory.ask(f"no answer to {ref}")

    def _obey_clock(self, start: int) -> None:
        """Leave what the clock wants flat in the slot after the one that starts at `start`."""
        following = self.clock.following(start)
        reason = int(following["flat"]) or (int(ExitReason.SESSION_MISSED) if following["missed"] else 0)
        if reason:
            self.memory.drop_entries(ExitReason(reason).label)
            leave(self.memory, bar=start, reason=reason)

    def _drop_late_entries(self, start: int) -> None:
        """Cancel entries of earlier bars that never filled: what was decided then is old."""
        for one in list(self.memory.orders.alive(Role.ENTRY)):
            if one.bar < start:
                self.memory.cancel(one, "it was decided at an earlier bar")

    # What else happens.

    def not_sent(self, refs: list[str], why: str, now: int, mono: float) -> list[Effect]:
        """Take in that orders surely never left."""
        memory = self._at(now, mono)
        for ref in refs:
            memory.orders.never_sent(ref)
            memory.sent_at.pop(ref, None)
        memory.note("event", type="NotSent", refs=refs, why=why)
        memory.rejections += 1
        memory.alert("warning", f"orders could not be sent: {why}")
        if memory.rejections >= self.strategy.trade.limits.max_rejections:
            memory.halt(f"{memory.rejections} orders in a row could not be sent")
        return memory.commit()

    def sent(self, refs: list[str]) -> None:
        """Note that orders left; it is written with whatever comes next."""
        for ref in refs:
            self.memory.orders.by_ref[ref].left = True
        self.memory.note("sent", refs=refs)

    def flatten(self, why: str, now: int, mono: float) -> list[Effect]:
        """Open nothing more, and leave what our orders made."""
        memory = self._at(now, mono)
        memory.drop_entries(why)
        memory.turn(State.REDUCING, why)
        leave(memory, bar=self.newest(), reason=int(ExitReason.SIGNAL))
        return memory.commit()

    def halt(self, why: str, now: int, mono: float) -> list[Effect]:
        """Open nothing more until a person says so; stops stay where they are."""
        memory = self._at(now, mono)
        memory.halt(why)
        return memory.commit()

    def resume(self, why: str, now: int, mono: float) -> list[Effect]:
        """Go on after a halt, by a person's word, once broker and journal agree."""
        memory = self._at(now, mono)
        self.failures = 0
        for one in memory.orders.unsettled():
            if one.status is Status.UNKNOWN and not one.acked:  # a person has looked: what is not there was not sent
                one.status, one.left = Status.PENDING, False
                memory.sent_at[one.order.ref] = mono
        memory.resume(why)
        return memory.commit()

    def finish(self, now: int, mono: float) -> list[Effect]:
        """Take in that there are no more bars: what is held is booked at the last close, as a backtest does."""
        memory = self._at(now, mono)
        if self.last is not None:
            booked = memory.books.finish(self.last.now)
            memory.note("bar", time=self.last.start, final=True, ledger=memory.books.state(), booked=booked)
            for trade in booked:
                memory.closed(trade)
        return memory.commit()

    def _at(self, now: int, mono: float) -> Memory:
        self.memory.now, self.memory.mono = now, mono
        return self.memory

    def newest(self) -> int:
        """Return the start of the newest bar, UTC ns; the time before there is one."""
        return self.last.start if self.last is not None else self.memory.now
