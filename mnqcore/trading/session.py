"""A session as it runs: one loop, one thread, between a broker, a stream of bars, a person and the clock.

Everything that is decided is decided by the desk; here it is only carried to and fro. The way a session starts is the
way it recovers: the journal is read, the broker is asked, and only what agrees goes on.
"""

from __future__ import annotations

import asyncio
import collections
import time
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from mnqcore.api.port import Role
from mnqcore.errors import BrokerError, MnqError
from mnqcore.trading.feed import Verdict
from mnqcore.trading.memory import Alert, Cancel, Closed, Query, State, Submit
from mnqcore.trading.reconcile import Truth, compare, reconcile
from mnqcore.trading.rows import Early, NoBar
from mnqcore.trading.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mnqcore.api.port import Broker, Delivered, Event, LiveSource
    from mnqcore.api.values import BarRequest
    from mnqcore.trading.desk import Desk, Row
    from mnqcore.trading.feed import Feed, Judged
    from mnqcore.trading.memory import Effect

_Answer = TypeVar("_Answer")
_TICK = 0.25
"""Seconds between two looks at the clock and at what a person wants."""
_BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds between tries to connect again."""


class Silent(BrokerError):
    """The broker did not answer in time: what was asked may have been done."""


class Watcher:
    """What a session tells as it goes; each method may be replaced."""

    def alert(self, level: str, message: str) -> None:
        """Hear what a person should know."""

    def closed(self, trade: Mapping[str, int]) -> None:
        """Hear of a round trip: fields of the simulator's TRADE."""

    def looked(self, session: Session) -> None:
        """Look at the session: called at every tick and after every bar."""


@attrs.define(kw_only=True)
class Session:
    """A desk at its broker.

    `source`: delivers the bars; often the broker itself. `rows`: what plugins say of a bar, by its start and number.
    `number`: of the newest bar. `request`: what is asked of the source. `standing`: makes of the broker's answers what
    the world rules look at. `commands`: takes what a person wants since it was called last, and does it. `foreign`:
    contract -> contracts of the broker's that a person told us to leave alone.
    """

    desk: Desk
    broker: Broker
    source: LiveSource
    feed: Feed
    rows: Any
    request: BarRequest
    standing: Callable[[Truth], Any]
    watcher: Watcher = attrs.field(factory=Watcher)
    commands: Callable[[Session], Awaitable[None]] | None = None
    foreign: dict[str, int] = attrs.field(factory=dict)
    number: int = -1
    truth: Truth | None = None
    """The broker's last answers."""
    stopping: str = ""
    """Why the session is to end, once it may."""
    ended: str = ""
    """Why it is over for good; empty while it can go on with another start."""
    odd: collections.Counter[str] = attrs.field(factory=collections.Counter)
    """Verdict -> bars that were not taken."""
    _inbox: collections.deque[Event] = attrs.field(factory=collections.deque, init=False)
    _bars: collections.deque[Delivered | None] = attrs.field(factory=collections.deque, init=False)
    _asked: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _wake: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _trouble: BaseException | None = attrs.field(default=None, init=False)
    _hurried: bool = attrs.field(default=False, init=False)
    _flatten: str = attrs.field(default="", init=False)
    _leaving: bool = attrs.field(default=False, init=False)
    _bad: int = attrs.field(default=0, init=False)
    _early: bool = attrs.field(default=False, init=False)
    _due: float = attrs.field(default=0.0, init=False)
    _ticked: float = attrs.field(default=0.0, init=False)

    def now(self) -> int:
        """Return the session's clock, UTC ns: the broker's where it owns one."""
        clock = getattr(self.broker, "now", None)
        return int(clock()) if clock is not None else time.time_ns()

    async def run(self) -> None:
        """Run until the bars end, a limit ends the run, or `stop` was called; BrokerError where nothing can go on."""
        pumps = [asyncio.create_task(self._pump_events()), asyncio.create_task(self._clock())]
        try:
            await self._begin()
            pumps.append(asyncio.create_task(self._pump_bars()))
            while not self._over():
                await self._wake.wait()
                self._wake.clear()
                await self._turn()
        except MnqError:
            raise
        except Exception as error:  # ours, or a library's: nothing new may be opened before a person has looked
            self.watcher.alert("error", f"the session failed: {type(error).__name__}: {error}")
            self.desk.halt(f"the session failed: {type(error).__name__}: {error}", self.now(), time.monotonic())
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _begin(self) -> None:
        """Ask the broker until everything agrees, or it is clear that a person is needed; bars wait meanwhile."""
        await self.ask("start")
        while self.desk.memory.state is State.RECONCILING and not self.stopping:
            await asyncio.sleep(_TICK)
            await self._hear()
            if self._trouble is not None:
                await self._recover()
            await self._tick()

    def stop(self, why: str) -> None:
        """End as soon as nothing is left to do; the position stays as it is unless `desk.flatten` was called."""
        self.stopping = why
        self._wake.set()

    def leave_now(self) -> None:
        """End at once; what is held stays at the broker with its stop."""
        self._hurried = True
        self._wake.set()

    def flatten(self, why: str) -> None:
        """Open nothing more, and leave what our orders made, at the next turn."""
        self._flatten = why
        self._wake.set()

    def _over(self) -> bool:
        if self.ended or self._hurried:
            return True
        if self.desk.memory.books.over and not self.desk.memory.orders.position():
            self.ended = "the loss limit of the run"
            return True
        if not self.stopping or self._flatten:
            return False
        return not self._leaving or self._left()

    def _left(self) -> bool:
        """Whether nothing is held, and nothing can open any more."""
        orders = self.desk.memory.orders
        return not orders.position() and not any(orders.alive(Role.ENTRY))

    async def _turn(self) -> None:
        """Do all there is to do: what the broker said first, then the bar that came, then the clock."""
        await self._hear()
        if self._flatten:
            why, self._flatten, self._leaving = self._flatten, "", True
            await self.carry_out(self.desk.flatten(why, self.now(), time.monotonic()))
        if self._trouble is not None:
            await self._recover()
        if self._bars:
            await asyncio.sleep(0)  # what happened before the bar closed may lie beside it
            await self._hear()
            await self._bar(self._bars.popleft())
            await self._hear()
            self._asked.set()
        if time.monotonic() - self._ticked >= _TICK:
            self._ticked = time.monotonic()
            await self._tick()
        self.watcher.looked(self)

    async def _hear(self) -> None:
        while self._inbox:
            await self.carry_out(self.desk.event(self._inbox.popleft(), self.now(), time.monotonic()))

    async def _tick(self) -> None:
        if self.commands is not None:
            await self.commands(self)
        await self.carry_out(self.desk.tick(self.now(), time.monotonic()))
        waiting = self.desk.memory.state is State.RECONCILING
        patience = self.desk.strategy.trade.limits.reconcile_seconds
        if waiting or time.monotonic() - self._due >= patience:
            await self.ask("the time has come")

    # Bars.

    async def _bar(self, delivered: Delivered | None) -> None:
        """Take in what the stream delivered; None is its end."""
        if delivered is None:
            await self.carry_out(self.desk.finish(self.now(), time.monotonic()))
            self.ended = "the bars ended"
            return
        judged = self.feed.judge(delivered, self.now())
        if not judged:
            slot = self.desk.clock.slots_between(self.desk.newest(), self.now())
            if slot:
                await self.carry_out(self.desk.silent(slot[-1], self.now(), time.monotonic()))
            return
        for one in judged:
            if one.verdict is not Verdict.NEW:
                self._odd(one)
        for start in sorted({one.time for one in judged if one.verdict is Verdict.NEW}):
            await self._new_bar(start)

    async def _new_bar(self, start: int) -> None:
        try:
            row = self.rows.row(start, self.number + 1)
        except NoBar as none:
            if isinstance(none, Early) and not self._early:
                self._early = True
                self.desk.memory.alert("info", "too few bars are known to decide on: it begins when there are more")
            await self.carry_out(self.desk.silent(start, self.now(), time.monotonic()))
            return
        except MnqError as error:
            await self.carry_out(
                self.desk.halt(f"{error.what} ({error.facts.get('where', '')})", self.now(), time.monotonic())
            )
            return
        self.number += 1
        self._bad = 0
        await self.carry_out(self.desk.bar(self._dated(row), self.now(), time.monotonic()))

    def _dated(self, row: Row) -> Row:
        """Return a row, without a decision where it is too old for one."""
        age = (self.now() - row.end) / 1e9
        return attrs.evolve(row, decides=age <= self.desk.strategy.trade.limits.max_bar_age)

    def _odd(self, one: Judged) -> None:
        """Note a bar that is not taken; too many that cannot be true halt."""
        self.odd[one.verdict.value] += 1
        self.desk.memory.note(
            "odd-bar",
            verdict=one.verdict.value,
            time=one.time,
            contract=one.contract,
            row=_finite(one.row),
            why=one.why,
        )
        if one.verdict in (Verdict.BAD, Verdict.SPIKE):
            self._bad += 1
            if self._bad >= self.desk.strategy.trade.limits.bad_bars:
                self.desk.memory.halt(f"{self._bad} bars in a row cannot be true: {one.why}")

    async def _pump_bars(self) -> None:
        try:
            async for delivered in self.source.stream(self.request):
                self._bars.append(delivered)
                self._asked.clear()
                self._wake.set()
                await self._asked.wait()
            self._bars.append(None)
        except Exception as error:  # whatever it is: it must not be lost in a task
            self._trouble = error
        self._wake.set()

    async def _clock(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            self._wake.set()

    async def _pump_events(self) -> None:
        try:
            async for event in self.broker.events():
                self._inbox.append(event)
                self._wake.set()
            self._trouble = BrokerError("the broker's events ended")  # deaf, no order may be sent
        except Exception as error:  # as above
            self._trouble = error
        self._wake.set()

    # The broker.

    async def carry_out(self, effects: list[Effect]) -> None:
        """Do what the desk wants done, in its order."""
        queries: list[Query] = []
        for effect in effects:
            if isinstance(effect, Submit):
                await self._submit(effect)
            elif isinstance(effect, Cancel):
                await self._cancel(effect)
            elif isinstance(effect, Query):
                queries.append(effect)
            elif isinstance(effect, Alert):
                self.watcher.alert(effect.level, effect.message)
            elif isinstance(effect, Closed):
                self.watcher.closed(effect.trade)
        whole = next((query.why for query in queries if query.whole), None)
        if whole is not None:
            await self.ask(whole)
        elif queries:
            await self._compare_positions(queries[0].why)

    async def _submit(self, effect: Submit) -> None:
        refs = [order.ref for order in effect.bracket.orders]
        try:
            await self._answered(self.broker.submit(effect.bracket))
        except Silent:  # they may have arrived, or may yet: it is asked for them
            self.desk.sent(refs)
        except BrokerError as error:
            await self.carry_out(self.desk.not_sent(refs, str(error), self.now(), time.monotonic()))
        else:
            self.desk.sent(refs)

    async def _cancel(self, effect: Cancel) -> None:
        try:
            await self._answered(self.broker.cancel(effect.ref))
        except BrokerError:  # asked again once the broker answers that it is still alive
            self.desk.memory.cancelled_at.pop(effect.ref, None)

    async def ask(self, why: str) -> None:
        """Ask the broker for all it knows, and compare; where it does not answer nothing new is opened.

        Raises:
            BrokerError: it answers for another account; nothing of that was booked.
        """
        self._due = time.monotonic()
        try:
            self.truth = truth = await self._answered(self._truth())
        except BrokerError as error:
            self.desk.memory.turn(State.RECONCILING, f"{why}: {error.what}")
            return
        self.desk.standing = attrs.evolve(self.standing(truth), skew=self._skew(truth))
        if self.desk.memory.state in (State.DISCONNECTED, State.CONNECTING):
            self.desk.memory.turn(State.RECONCILING, why)
        await self.carry_out(reconcile(self.desk, truth, self.now(), time.monotonic(), adopted=self.foreign))

    async def _compare_positions(self, why: str) -> None:
        """Ask for positions alone, and for everything where they are not ours."""
        await self._hear()  # what filled meanwhile
        try:
            positions = await self._answered(self.broker.positions())
        except BrokerError as error:
            self.desk.memory.turn(State.RECONCILING, f"{why}: {error.what}")
            return
        if compare(self.desk, positions, self.foreign):
            await self.ask(why)

    async def _answered(self, question: Awaitable[_Answer]) -> _Answer:
        """Return an answer of the broker; Silent where it leaves us waiting, as one does whose process hangs."""
        try:
            return await asyncio.wait_for(question, self.desk.strategy.trade.limits.ack_seconds)
        except TimeoutError:
            raise Silent("the broker does not answer") from None

    def _skew(self, truth: Truth) -> float:
        """Return the seconds by which the broker's clock is ahead of ours; 0 where ours is the broker's."""
        return 0.0 if hasattr(self.broker, "now") else (truth.account.time - self.now()) / SECOND

    async def _truth(self) -> Truth:
        account = await self.broker.account()
        positions = await self.broker.positions()
        open_orders = await self.broker.open_orders()
        completed = await self.broker.completed_orders()
        executions = await self.broker.executions()
        contracts = {one.contract for one in positions} | set(self.desk.memory.orders.position())
        if self.desk.last is not None:
            contracts.add(self.desk.last.contract)
        facts = [await self.broker.facts(contract) for contract in sorted(contracts)]
        return Truth(
            account=account,
            positions=positions,
            open_orders=open_orders,
            completed_orders=completed,
            executions=executions,
            facts=facts,
        )

    async def _recover(self) -> None:
        """Note that a stream broke off, and end: what is held stays with its stop, and the next start goes on."""
        trouble, self._trouble = self._trouble, None
        assert trouble is not None
        why = str(trouble).splitlines()[0] if str(trouble) else type(trouble).__name__
        if isinstance(trouble, (BrokerError, OSError)):
            self.desk.memory.turn(State.DISCONNECTED, why)
        else:
            self.desk.memory.halt(f"the session failed: {why}")
        await self.carry_out(self.desk.memory.commit())
        if isinstance(trouble, OSError):
            raise BrokerError(why) from trouble
        raise trouble


def _finite(row: Mapping[str, float]) -> dict[str, float | str]:
    return {name: value if value == value and abs(value) < float("inf") else str(value) for name, value in row.items()}
