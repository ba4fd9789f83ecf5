"""Looks after a position at the broker itself, without the session: its process has ended, or is ended for this.

Only the broker's plugin and the session's `login.json` are needed. The journal is read, and written, where it can be;
where it cannot, nobody knows which part of a position was the session's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from mnqcore.api.port import BracketOrder, Filled, Order, Role, Status
from mnqcore.errors import BrokerError, MnqError
from mnqcore.trading import settling
from mnqcore.trading.account import refuse_other_account
from mnqcore.trading.cover import Costs, Cover, Stop, average_prices, cover
from mnqcore.trading.journal import Entry
from mnqcore.trading.memory import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mnqcore.api.port import AccountState, Broker, Execution, OrderState
    from mnqcore.trading.hindsight import Hindsight
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.places import Access

_Found = TypeVar("_Found")
_PATIENCE = 20.0
"""Seconds for each answer of a broker, and for an exit to fill."""
_RACE = 3.0
"""Seconds for entries to be cancelled."""
_PAUSE = 0.1


@attrs.frozen(kw_only=True)
class Answers:
    """What the broker said, all of it at about one time."""

    account: AccountState
    held: dict[str, int]
    open_orders: list[OrderState]
    executions: list[Execution]


@attrs.define(kw_only=True)
class Direct:
    """A broker, and what the journal knows. `known`: None where it cannot be read, and `trouble` says why.

    `journal`: open for writing, where it can be. `tell`: hears what is being done.
    """

    broker: Broker
    access: Access
    known: Hindsight | None = None
    trouble: str = ""
    journal: Journal | None = None
    tell: Callable[[str], None] = lambda _text: None

    # Looking.

    async def answers(self) -> Answers:
        """Ask the broker for all it knows; the journal's orders learn what they missed.

        Raises:
            BrokerError: it does not answer.
        """
        account = await _soon(self.broker.account())
        refuse_other_account(self.access.login.account, account)
        positions = await _soon(self.broker.positions())
        found = Answers(
            account=account,
            held={one.contract: one.contracts for one in positions},
            open_orders=await _soon(self.broker.open_orders()),
            executions=await _soon(self.broker.executions()),
        )
        if self.known is not None:
            for execution in found.executions:
                self.known.orders.apply(Filled(execution=execution, time=account.time))
        return found

    def compared(self, answers: Answers) -> dict[str, Any]:
        """Return journal and broker side by side."""
        known = self.known
        return settling.table(
            None if known is None else known.orders.position(),
            answers.held,
            {} if known is None else known.foreign,
            [f"{one.ref or 'none of ours'} {one.status.value}" for one in answers.open_orders],
        )

    def protection(self, answers: Answers) -> Cover:
        """Return what protects the position, by the broker's word."""
        stops = [
            Stop(
                contract=one.contract,
                side=one.side,
                contracts=one.contracts - one.filled,
                price=one.price,
                working=one.status is Status.WORKING,
                broker_id=one.broker_id,
                why=one.why or one.status.value,
            )
            for one in answers.open_orders
            if one.role is Role.STOP or (one.role is None and one.price is not None)
        ]
        fills = sorted(answers.executions, key=lambda one: one.time)
        averages = average_prices([(one.contract, one.side * one.contracts, one.price) for one in fills])
        costs = Costs(instrument=self.access.login.instrument)
        return cover(answers.held, averages, stops, costs, self.access.use)

    # Closing.

    def ours(self, answers: Answers) -> dict[str, int]:
        """Return contract -> signed contracts that the journal owns and the broker holds: never more than either."""
        owned = {} if self.known is None else self.known.orders.position()
        found = {}
        for contract, number in owned.items():
            theirs = answers.held.get(contract, 0) - (self.known.foreign.get(contract, 0) if self.known else 0)
            if number * theirs > 0:
                found[contract] = min(number, theirs, key=abs)
        return found

    async def flatten(self, everything: bool, by: str) -> bool:
        """Block, cancel entries, close, and cancel stops once nothing is held; returns whether that is so.

        Closed is what the journal owns, with `everything` all that the account holds. Saying it again does no more.
        """
        self._write("operator", command="flatten", args={"all": everything, "by": by}, answer="at the broker itself")
        self._write("state", state=State.HALTED.value, why="flattened by a person")
        answers = await self._without_entries()
        ours = self.ours(answers)
        names = sorted({*answers.held, *ours})
        rest = {name: answers.held.get(name, 0) - ours.get(name, 0) for name in names}
        for name in names:
            await self._close(answers, name, ours.get(name, 0), rest[name] if everything else 0)
        left = dict.fromkeys(names, 0) if everything else rest
        done = await self._gone(left)
        if done:
            await self._cancel_stops(everything or not any(left.values()))
        if done and everything and self.known is not None and self.known.foreign:
            self._write("operator", command="flatten", args={"by": by}, answer="nothing is left alone", foreign={})
            self.known.foreign = {}
        return done

    async def _without_entries(self) -> Answers:
        """Cancel our entries, and wait a while for it; those that fill meanwhile are closed with the rest."""
        until = time.monotonic() + _RACE
        asked: set[str] = set()
        while True:
            answers = await self.answers()
            entries = [one for one in answers.open_orders if self._is_ours(one) and one.role is Role.ENTRY]
            for one in entries:
                if one.ref not in asked:
                    asked.add(one.ref)
                    await self._cancel(one.ref, "flattened by a person")
            if not entries or time.monotonic() > until:
                return answers
            await asyncio.sleep(_PAUSE)

    async def _close(self, answers: Answers, contract: str, own: int, rest: int) -> None:
        """Send what closes a position, but for what orders do that are at the broker already."""
        exits = [one for one in answers.open_orders if one.contract == contract and one.role is Role.EXIT]
        for part, order, is_that in (
            (own, self._exit, lambda one: not one.ref.startswith(settling.BEYOND)),
            (rest, self._beyond, lambda one: one.ref.startswith(settling.BEYOND)),
        ):
            if any(is_that(one) for one in exits):
                self.tell(f"an order that closes {contract or 'it'} is at the broker already")
            elif part:
                await self._submit(order(answers, contract, part))

    def _exit(self, answers: Answers, contract: str, number: int) -> Order:
        """Return the exit of what the journal owns, in the group of its stop."""
        assert self.known is not None
        self.known.number += 1
        side = -1 if number > 0 else 1
        groups = [
            one.order.group
            for one in self.known.orders.alive(Role.STOP)
            if one.order.contract == contract and one.order.side == side
        ]
        ref = f"{self.access.session}-{self.known.number}"
        return Order(ref=ref, role=Role.EXIT, contract=contract, side=side, contracts=abs(number),
                     group=groups[0] if groups else ref)  # fmt: skip

    def _beyond(self, answers: Answers, contract: str, number: int) -> Order:
        """Return what closes the rest; where no journal tells the group of a stop of ours, its ref does."""
        order = settling.closing_order(contract, number)
        stops = [one.ref for one in answers.open_orders if self._is_ours(one) and one.role is Role.STOP
                 and one.contract == contract and one.side == order.side]  # fmt: skip
        if self.known is None and stops:
            return attrs.evolve(order, group=f"{stops[0].removesuffix('.s')}.g")
        return order

    async def _submit(self, order: Order) -> None:
        if not order.ref.startswith(settling.BEYOND) and self.known is not None:
            self._write("intent", **settling.intent_of(order, self.known.bar))
        self.tell(f"sent: {order.side * order.contracts:+d} {order.contract} at the market ({order.ref})")
        await _soon(self.broker.submit(BracketOrder(orders=(order,))))

    async def _gone(self, left: dict[str, int]) -> bool:
        """Wait until the broker holds no more than what is to be left."""
        until, clock = time.monotonic() + _PATIENCE, _clock_of(self.broker)
        seen = time.monotonic()
        while time.monotonic() < until:
            answers = await self.answers()
            if all(answers.held.get(name, 0) == number for name, number in left.items()):
                return True
            if clock is not None and time.monotonic() - seen > 1.0 and clock() == answers.account.time:
                await self._next_bar(answers.account.time)  # its clock stands until a bar is asked for
                seen = time.monotonic()
            await asyncio.sleep(_PAUSE)
        return False

    async def _next_bar(self, now: int) -> None:
        """Let a broker whose clock waits for us go on by a bar."""
        import pandas as pd

        from mnqcore.api.values import BarRequest

        login, stream = self.access.login, getattr(self.broker, "stream", None)
        if stream is None:
            return
        start = pd.Timestamp(now, unit="ns", tz="UTC")
        request = BarRequest(instrument=login.instrument, bar_size=login.bar_size, start=start)
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            await asyncio.wait_for(anext(stream(request)), _PATIENCE)

    async def _cancel_stops(self, everything: bool) -> None:
        """Cancel our stops and targets of what is not held any more."""
        answers = await self.answers()
        for one in answers.open_orders:
            orphan = everything or not answers.held.get(one.contract)
            if self._is_ours(one) and one.role in (Role.STOP, Role.TARGET) and orphan:
                await self._cancel(one.ref, "nothing is held any more")
        if foreign := [one for one in answers.open_orders if not one.ref]:
            self.tell(f"{len(foreign)} orders at the broker are none of ours: cancel them there")

    async def cancel(self, refs: list[str]) -> None:
        """Cancel orders whose position is not ours any more."""
        for ref in refs:
            await self._cancel(ref, "what it was for is not ours any more")

    async def _cancel(self, ref: str, why: str) -> None:
        if self.known is not None and ref in self.known.orders.by_ref:
            self._write("cancel", ref=ref, why=why)
        with contextlib.suppress(BrokerError):
            await _soon(self.broker.cancel(ref))

    def _is_ours(self, order: OrderState) -> bool:
        return order.ref.startswith((f"{self.access.session}-", settling.BEYOND))

    def _write(self, kind: str, **data: Any) -> None:
        """Have the journal hold it, where it can be written: flattening does not wait for a disk."""
        if self.journal is None:
            return
        clock = _clock_of(self.broker)
        try:
            self.journal.write(Entry(kind, data), now=clock() if clock is not None else time.time_ns())
        except MnqError as error:
            self.tell(f"the journal does not hold it: {error.facts.get('found', error.what)}")
            self.journal = None


def _clock_of(broker: Any) -> Callable[[], int] | None:
    return getattr(broker, "now", None)


async def _soon(answer: Awaitable[_Found]) -> _Found:
    """Return an answer; BrokerError where it does not come."""
    try:
        return await asyncio.wait_for(answer, _PATIENCE)
    except TimeoutError as error:
        raise BrokerError("the broker does not answer", found=f"nothing within {_PATIENCE:.0f} s") from error
