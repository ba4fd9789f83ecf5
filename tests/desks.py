"""A desk at a broker of the test's own: truth kept the obvious way, messages that go astray, a clock moved by hand.

`Venue` is what really happens. `Rig` stands where a session would: it carries effects to the venue and brings back what
the venue says, but each message can be late, lost, doubled, out of order, or unclear, and the process can be killed.
"""

from __future__ import annotations

import functools
import math
import tempfile
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd

from mnqcore.api import port
from mnqcore.api.port import Role, Status
from mnqcore.errors import JournalBroken
from mnqcore.market.bars import bar_size
from mnqcore.market.calendar import Calendar
from mnqcore.plugins import load as load_plugins
from mnqcore.simulator import rulebook
from mnqcore.strategy import load
from mnqcore.tape.calls import size_of
from mnqcore.tape.records import BAR, ORDER
from mnqcore.trading.books import Books
from mnqcore.trading.clockwork import Clockwork
from mnqcore.trading.desk import Desk, Row
from mnqcore.trading.journal import FILE, Header, Journal
from mnqcore.trading.memory import Alert, Cancel, Memory, Query, State, Submit
from mnqcore.trading.orders import Orders
from mnqcore.trading.protection import Protection
from mnqcore.trading.recall import recall
from mnqcore.trading.reconcile import Truth, reconcile

CONTRACT = "MNQH25"
SECOND = 1_000_000_000
STEP = 0.25
"""Seconds between two ticks."""
STOP, TARGET, PRICE, CAPITAL = 40, 60, 80_000, 100_000
TOML = """
format = 1
[strategy.x]
data = { use = "synthetic", market = "no-edge", days = 5 }
agent = { use = "sma-cross", fast = 5, slow = 20 }
sizer = { use = "fixed", contracts = 2 }
bracket = { use = "fixed", stop_ticks = 40, target_ticks = 60 }
costs = { initial_balance = 100_000.0, commission = 0.62, slippage_ticks = 1 }
risk = { max_position = 3 }
"""


@functools.cache
def plugins():
    return load_plugins(environ={"MNQ_LOAD_PLUGINS": ""})


@functools.cache
def strategy(*sets):
    """Return the strategy of the tests, with some settings changed: "risk.max_position=2", ..."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.toml"
        file.write_text(TOML)
        return load(file, "x", plugins(), list(sets))


@functools.cache
def clock(of):
    return Clockwork(Calendar(of.instrument, rth=of.session.rth), of.session, bar_size(of.bar_size))


def at(text):
    """Return a time, UTC ns."""
    return pd.Timestamp(text, tz="UTC").as_unit("ns").value


@attrs.define(eq=False)
class Live:
    """An order at the venue."""

    order: port.Order
    broker_id: str
    contracts: int
    filled: int = 0
    status: Status = Status.PENDING
    parked: bool = False

    @property
    def left(self):
        return 0 if self.status.ended else self.contracts - self.filled

    @property
    def works(self):
        return self.status is Status.WORKING


class Venue:
    """What really happens: orders by ref, executions by id, and `told`, what was said of it and has not arrived."""

    def __init__(self):
        self.orders, self.executions, self.told = {}, {}, []
        self.price, self.now, self.count = PRICE, 0, 0
        self.done = set()
        """Groups of which an order has filled."""
        self.partial = 0
        """Contracts of the next entry that fill at once; the rest waits."""
        self.refuses = set()
        """Roles of which the next order is rejected when it would get to work."""
        self.sticks = False
        """Stops are triggered, but not filled."""
        self.groups = True
        """Orders of a group cancel each other."""
        self.fee = 620_000

    # What is true.

    def held(self, *, ours=True):
        """Return signed contracts: of our orders, or of the account."""
        return sum(one.side * one.contracts for one in self.executions.values() if one.ref or not ours)

    def alive(self, *roles):
        return [one for one in self.orders.values() if not one.status.ended and (not roles or one.order.role in roles)]

    def exposed(self, side):
        """Return the largest position of ours on a side that fills of entries could make."""
        waiting = sum(one.left for one in self.alive(Role.ENTRY) if one.order.side == side)
        return max(self.held() * side, 0) + waiting

    def covered(self):
        """Whether stops at work would close all that our orders made."""
        held = self.held()
        cover = sum(one.left for one in self.alive(Role.STOP) if one.works and one.order.side * held < 0)
        return cover >= abs(held)

    def equity(self):
        """Return micro-units: what the account of our orders alone is worth at the last price."""
        tick = 500_000
        paid = sum(one.side * one.contracts * one.price for one in self.executions.values() if one.ref)
        fees = sum(one.commission for one in self.executions.values() if one.ref)
        return CAPITAL * 1_000_000 + (self.held() * self.price - paid) * tick - fees

    def truth(self):
        states = [self._state(one) for one in self.orders.values()]
        total = self.held(ours=False)
        return Truth(
            account=port.AccountState(
                id="T1", paper=True, currency="USD", time=self.now, equity=self.equity(), available=10**12
            ),
            positions=[port.Position(contract=CONTRACT, contracts=total)] if total else [],
            open_orders=[one for one in states if not one.status.ended],
            completed_orders=[one for one in states if one.status.ended],
            executions=list(self.executions.values()),
        )

    def _state(self, live):
        order = live.order
        return port.OrderState(
            ref=order.ref, broker_id=live.broker_id, role=order.role, contract=order.contract, side=order.side,
            contracts=live.contracts, filled=live.filled, price=order.price, status=live.status,
        )  # fmt: skip

    # What is asked of it.

    def submit(self, bracket):
        taken = []
        for order in bracket.orders:
            assert order.ref not in self.orders, f"{order.ref} was used twice"
            self.count += 1
            live = self.orders[order.ref] = Live(order, str(self.count), order.contracts)
            taken.append(live)
            self._tell(port.Accepted, live, broker_id=live.broker_id)
        for live in taken:
            if not live.status.ended:
                self._begin(live)

    def cancel(self, ref):
        live = self.orders.get(ref)
        if live is None or live.status.ended:
            self.told.append(port.Unknown(ref=ref, time=self.now, code="161", why="nothing to cancel"))
        else:
            self._cancel(live)

    # What happens.

    def fill_market(self, price=None):
        """Let market orders fill, exits first."""
        price = self.price if price is None else price
        waiting = [one for one in self.alive(Role.EXIT, Role.ENTRY) if one.works]
        for live in sorted(waiting, key=lambda one: one.order.role is not Role.EXIT):
            if live.status.ended:
                continue
            contracts = live.left
            if live.order.role is Role.ENTRY and 0 < self.partial < contracts:
                contracts, self.partial = self.partial, 0
            self._fill(live, contracts, price + live.order.side)

    def move(self, price):
        """Let the price move: stops, then targets, that it reaches fill."""
        self.price = price
        for live in sorted(self.alive(Role.STOP, Role.TARGET), key=lambda one: one.order.role is not Role.STOP):
            beyond = (price - live.order.price) * live.order.side
            reached = beyond >= 0 if live.order.role is Role.STOP else beyond <= 0
            if live.works and reached and not (self.sticks and live.order.role is Role.STOP):
                self._fill(live, live.left, live.order.price)

    def expire(self):
        for live in self.alive(Role.ENTRY):
            self._cancel(live, "expired")

    def lose_stop(self):
        """Cancel a stop at work, as somebody else does."""
        for live in [one for one in self.alive(Role.STOP) if one.works][:1]:
            self._cancel(live, "202")

    def park_stop(self):
        for live in [one for one in self.alive(Role.STOP) if one.works][:1]:
            live.status, live.parked = Status.PENDING, True
            self._tell(port.Parked, live, broker_id=live.broker_id)

    def trade(self, signed, *, forced=False):
        """Trade beside us."""
        self._execute("", "", 1 if signed > 0 else -1, abs(signed), self.price, forced=forced)

    def liquidate(self):
        if held := self.held(ours=False):
            self.trade(-held, forced=True)

    def correct(self, *, ticks=0, bust=False):
        """Correct the last execution of ours."""
        ours = [one for one in self.executions.values() if one.ref and one.contracts]
        if ours:
            last = ours[-1]
            changed = attrs.evolve(
                last, revision=last.revision + 1, price=last.price + ticks, contracts=0 if bust else last.contracts,
                commission=0 if bust else last.commission,
            )  # fmt: skip
            self._told_of(changed)

    def _tell(self, kind, live, **more):
        self.told.append(kind(ref=live.order.ref, time=self.now, **more))

    def _begin(self, live):
        order, parent = live.order, self.orders.get(live.order.parent or "")
        if order.group in self.done and self.groups:
            self._cancel(live, "oca")
        elif parent is not None and not parent.filled:
            if parent.status.ended:
                self._cancel(live, "parent")
        elif order.role in self.refuses:
            self.refuses.discard(order.role)
            live.status = Status.REJECTED
            self._tell(port.Rejected, live, code="201")
            self._end_children(live)
        else:
            live.status = Status.WORKING
            self._tell(port.Working, live, broker_id=live.broker_id)

    def _cancel(self, live, code=""):
        if not live.status.ended:
            live.status = Status.CANCELLED
            self._tell(port.Cancelled, live, code=code)
            if not live.filled:
                self._end_children(live)

    def _end_children(self, parent):
        for one in self.alive():
            if one.order.parent == parent.order.ref:
                self._cancel(one, "parent")

    def _execute(self, ref, broker_id, side, contracts, price, *, forced=False):
        execution = port.Execution(
            id=f"x{len(self.executions) + 1}", ref=ref, broker_id=broker_id, contract=CONTRACT, side=side,
            contracts=contracts, price=price, time=self.now, forced=forced, commission=contracts * self.fee,
        )  # fmt: skip
        self._told_of(execution)

    def _told_of(self, execution):
        """Keep an execution with what it costs, and tell of it: what it costs comes later."""
        self.executions[execution.id] = execution
        self.told.append(port.Filled(execution=attrs.evolve(execution, commission=None), time=self.now))
        if execution.ref:
            charged = port.Charged(execution=execution.id, commission=execution.commission, time=self.now)
            self.told.append(charged)

    def _fill(self, live, contracts, price):
        order = live.order
        self._execute(order.ref, live.broker_id, order.side, contracts, price)
        live.filled += contracts
        if live.filled == live.contracts:
            live.status = Status.FILLED
            if order.parent in self.orders:
                self._cancel(self.orders[order.parent], "child")
            if order.group is not None and self.groups:
                self.done.add(order.group)
                for one in self.alive():
                    if one.order.group == order.group:
                        self._cancel(one, "oca")
        for child in self.alive():
            if child.order.parent == order.ref:
                if child.contracts != min(child.order.contracts, live.filled):
                    child.contracts = min(child.order.contracts, live.filled)
                    self._tell(port.Resized, child, contracts=child.contracts)
                if child.status is Status.PENDING and not child.parked:
                    self._begin(child)


class Frail(Journal):
    """A journal on a disk that can be full."""

    full = False

    def write(self, *entries, now):
        if self.full and entries:
            self._trouble = "database or disk is full"
            raise self._failure()
        return super().write(*entries, now=now)

    def retry(self):
        return not self.full and super().retry()


class Mind:
    """Does what it is told."""

    action = 0

    def act(self, row, seen):
        if isinstance(self.action, BaseException):
            raise self.action
        return self.action


class Killed(Exception):
    """The process is gone."""


class Rig:
    """A desk, the journal on disk behind it, and the venue before it."""

    def __init__(self, folder, *sets, start="2025-03-12 15:00", mode="paper"):
        self.strategy, self.mode, self.folder = strategy(*sets), mode, Path(folder)
        self.clock, self.venue, self.mind = clock(self.strategy), Venue(), Mind()
        self.mono, self.now = 1_000.0, at(start)
        self.venue.now = self.now
        self.slot, self.first_day = self.clock.next_slot(self.now - 1), self.clock.trading_day(self.now)
        self.number = -1
        self.restarts = 0
        self.row = None
        self.up = True
        """The broker can be reached."""
        self.deaf = 0
        """How many queries from now on fail."""
        self.fate = "taken"
        """What becomes of the next submission: taken, lost, late, refused."""
        self.lost_cancels = 0
        self.late = []
        self.stays_stopped = True
        """Whether each new beginning found itself stopped; a leaving that had come to its end is not remembered."""
        """(mono by which it arrives, bracket) of submissions under way."""
        self.fuse = None
        """Effects that are carried out before the process is killed."""
        self.answered = 0.0
        """`mono` of the broker's last whole answer."""
        self.due = self.mono
        self.alerts, self.sent = [], []
        self._open(Frail.create(self.folder / FILE, _header(self.strategy, mode)))
        self.ask("start")

    def _open(self, journal):
        journal._db.execute("PRAGMA synchronous=OFF")  # here no cable is cut
        of = self.strategy
        self.journal, self.memory = journal, self._blank(journal)
        self.known = recall(self.memory, journal, self.clock.trading_day)
        self.memory.now, self.memory.mono = self.now, self.mono
        self.desk = Desk(
            strategy=of, mode=self.mode, memory=self.memory, clock=self.clock, mind=self.mind, last=self.row,
            protection=Protection(memory=self.memory, wanted=True, patience=of.trade.limits.uncovered_seconds),
        )  # fmt: skip

    def _blank(self, journal):
        of = self.strategy
        books = Books(
            rulebook(of.instrument, of.costs, of.risk), of.costs.initial_balance,
            size_of=size_of(of.sizer, of.sizer.build()), lookback=of.lookback, day=self.first_day,
        )  # fmt: skip
        books.ledger["bar"] = -1
        return Memory(journal=journal, orders=Orders(), books=books, session=journal.header.session)

    def recalled(self):
        """Return a memory made from the journal alone."""
        with Journal.read(self.journal.path) as journal:
            memory = self._blank(journal)
            recall(memory, journal, self.clock.trading_day)
        return memory

    def close(self):
        self.journal.close()

    # A process that dies, and another.

    def killed(self):
        """Begin again from the journal; what was not heard yet is heard of only if it is asked for.

        What is on its way to the broker arrives before a new client is answered, as the port has it.
        """
        self.fuse = None
        self.restarts += 1
        self.journal.close()
        self._arrive(math.inf)
        self._open(Frail.open(self.folder / FILE))
        self.stays_stopped = self.stays_stopped and (self.state is State.HALTED or self.memory.reducing)
        if self.up:
            self.ask("start")

    def runs(self, what, *arguments):
        """Do something, and begin again where it is killed meanwhile."""
        try:
            what(*arguments)
        except Killed:
            self.killed()

    # Time.

    def tick(self):
        """Let a quarter of a second pass."""
        self.mono += STEP
        self.now += int(STEP * SECOND)
        self.venue.now = self.now
        self._arrive(self.mono)
        self.carry_out(self.desk.tick(self.now, self.mono))
        patience = self.strategy.trade.limits.reconcile_seconds
        if self.memory.state is State.RECONCILING or self.mono - self.due >= patience:
            self.ask("the time has come")

    def _arrive(self, until):
        for arrives, bracket in [one for one in self.late if one[0] <= until]:
            self.late.remove((arrives, bracket))
            self.venue.submit(bracket)

    def wait(self, seconds):
        for _ in range(int(seconds / STEP)):
            self.tick()

    # Bars.

    def bar(self, action=0, *, opened=0, low=0, high=0, closed=0, hears=True):
        """Let the next bar trade, `opened` ... ticks from the last price; then it closes and `action` is chosen."""
        venue, start = self.venue, self.slot
        self.now = venue.now = max(self.now, start)
        first = venue.price + opened
        prices = (
            first,
            max(first, first + closed, first + high),
            min(first, first + closed, first - low),
            first + closed,
        )
        venue.move(first)
        venue.fill_market()
        for price in (prices[2], prices[1], prices[3]):
            venue.move(price)
        end = self.clock.slot_end(start)
        self.mono += 1.0
        self.now = venue.now = max(self.now, end)
        self._arrive(self.mono)
        if hears:
            self.deliver()
        self.mind.action = action
        self.number += 1
        self.row = row = self._row(start, end, prices)
        self._pass(start)
        fresh = (self.now - end) / SECOND <= self.strategy.trade.limits.max_bar_age
        self.carry_out(self.desk.bar(attrs.evolve(row, decides=fresh), self.now, self.mono))
        return row

    def silent(self):
        """Let a slot pass without a bar."""
        start = self.slot
        self.now = self.venue.now = max(self.now, self.clock.slot_end(start))
        self.mono += 1.0
        self._arrive(self.mono)
        self._pass(start)
        self.carry_out(self.desk.silent(start, self.now, self.mono))

    def _pass(self, start):
        self.slot = self.clock.next_slot(start)
        if self.clock.session_close(self.slot) != self.clock.session_close(start):
            self.venue.expire()

    def _row(self, start, end, prices):
        now, order = np.zeros(1, BAR), np.zeros(1, ORDER)
        now[0] = self.clock.slot(start)
        for name, price in zip(("open", "high", "low", "close"), prices, strict=True):
            now[name] = price
        order["stop"], order["target"], order["time"], order["carry_open"] = STOP, TARGET, start, prices[0]
        return Row(start=start, end=end, number=self.number, contract=CONTRACT, now=now, order=order, prices=prices,
                   volume=1.0, features=[])  # fmt: skip

    # Messages.

    def deliver(self, at=None, *, twice=False, lose=False, unclear=False):
        """Bring one message, or all of them in order."""
        if at is None:
            before = len(self.sent)
            while self.venue.told and self.up:
                self.deliver(0)
                assert len(self.sent) < before + 30, "a storm of orders"
            return
        if not self.venue.told or not self.up:
            return
        event = self.venue.told.pop(at % len(self.venue.told))
        ref = getattr(event, "ref", None)
        if unclear and ref:
            event = port.Unknown(ref=ref, time=event.time, code="109", why="unclear")
        if lose:
            return
        if twice:
            self.venue.told.append(event)
        self.hear(event)

    def hear(self, event):
        self.carry_out(self.desk.event(event, self.now, self.mono))

    def disconnect(self):
        if self.up:
            self.up = False
            self.hear(port.Disconnected(time=self.now, why="1100"))

    def restore(self, *, keeps=True):
        """Let the broker be reached again; what it said meanwhile comes late, or never."""
        if not self.up:
            self.up = True
            if not keeps:
                self.venue.told.clear()
            self.hear(port.Restored(time=self.now))

    # What the desk wants done: as `Session` does it.

    def carry_out(self, effects):
        queries = []
        for effect in effects:
            if self.fuse is not None:
                self.fuse -= 1
                if self.fuse < 0:
                    raise Killed
            if isinstance(effect, Submit):
                self._submit(effect.bracket)
            elif isinstance(effect, Cancel) and self.up:
                if self.lost_cancels:
                    self.lost_cancels -= 1
                else:
                    self.venue.cancel(effect.ref)
            elif isinstance(effect, Query):
                queries.append(effect)
            elif isinstance(effect, Alert):
                self.alerts.append((effect.level, effect.message))
        if whole := [one.why for one in queries if one.whole]:
            self.ask(whole[0])
        elif queries:
            self._compare(queries[0].why)

    def _submit(self, bracket):
        refs = [order.ref for order in bracket.orders]
        self.sent.append((self.memory.state, self.journal.broken, bracket))
        self._intended(refs)
        fate, self.fate = self.fate if self.up else "refused", "taken"
        if fate == "refused":
            self.carry_out(self.desk.not_sent(refs, "refused", self.now, self.mono))
            return
        if fate == "taken":
            self.venue.submit(bracket)
        elif fate == "late":
            self.late.append((self.mono + 2.0, bracket))
        self.desk.sent(refs)

    def _intended(self, refs):
        """See that the disk holds the intent of what is sent."""
        if self.journal.broken:
            return
        with Journal.read(self.journal.path) as journal:
            written = {event.data["ref"] for event in journal.events(("intent",), max(self.journal._last - 200, 0))}
        assert set(refs) <= written, f"{refs} were sent without an intent"

    def ask(self, why):
        self.due = self.mono
        if not self._answers(why):
            return
        if self.memory.state in (State.DISCONNECTED, State.CONNECTING):
            self.memory.turn(State.RECONCILING, why)
        truth = self.venue.truth()
        self.answered = self.mono
        self.carry_out(reconcile(self.desk, truth, self.now, self.mono, adopted=self.known.foreign))

    def _compare(self, why):
        from mnqcore.trading.reconcile import compare

        if self._answers(why) and compare(self.desk, self.venue.truth().positions, self.known.foreign):
            self.ask(why)

    def _answers(self, why):
        if self.up and not self.deaf:
            return True
        self.deaf = max(self.deaf - 1, 0)
        self.memory.turn(State.RECONCILING, f"{why}: no answer")
        return False

    # What the journal says, read from the disk.

    def journaled(self, *kinds, after=0):
        with Journal.read(self.journal.path) as journal:
            return list(journal.events(kinds, after))

    @property
    def state(self) -> Any:
        return self.memory.state


def _header(of, mode):
    return Header(
        account="T1", mode=mode, strategy=of.name, digest=of.digest(), session="0a1b2c3d",
        instrument=attrs.asdict(of.instrument), versions={}, created=0,
    )  # fmt: skip


__all__ = ["CONTRACT", "JournalBroken", "Killed", "Rig", "Venue", "at", "strategy"]
