"""What a venue answers: it owns the replay, its clock, the stream of bars and the account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mnqcore import DataError, port
from mnqplugins.brokers import _wire
from mnqplugins.brokers._replay import Replay, Tape, terms
from mnqplugins.brokers._script import Item, Script
from mnqplugins.brokers._setup import Clock, Setup

if TYPE_CHECKING:
    from collections.abc import Callable


class Visit:
    """One client's connection: where it is in the stream, and what it waits for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.backlog: list[Item] = []
        self.cursor = 0
        self.waiting: int | None = None
        """The id of a question for the next item that is not answered yet."""


class Venue:
    """Serves one replay."""

    def __init__(self, setup: Setup) -> None:
        from mnqcore import recorded

        self.setup = setup
        tape = Tape(recorded(setup.file, setup.plugins), setup.start, setup.end)
        if tape.first >= tape.last:
            raise DataError("no bars of the data source lie between broker.start and broker.end")
        tick_size = tape.recorded.strategy.instrument.tick_size
        self.tape, self.script = tape, Script(setup.faults, tape.columns, tick_size)
        self.replay = Replay(tape, terms(tape.recorded, setup.account, setup.slippage, setup.equity), self.script)
        self.clock = Clock(setup.speed, self.replay.clock)
        self.visit: Visit | None = None
        self.ended = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "account": lambda _said: self.replay.exchange.account.state(self.now()),
            "positions": lambda _said: self.replay.exchange.account.positions(),
            "open_orders": lambda _said: self.replay.exchange.orders.open,
            "completed_orders": lambda _said: self.replay.exchange.orders.completed,
            "executions": lambda _said: self.replay.exchange.account.executions(),
            "facts": self._facts,
            "submit": self._submit,
            "cancel": self._cancel,
            "history": self._history,
            "stream": self._stream,
            "finish": self._finish,
        }

    def now(self) -> int:
        """Return what the broker's clock shows, wrong or not."""
        return self.clock.now() + self.script.skew

    @property
    def away(self) -> bool:
        """Whether the script lets nobody in."""
        return self.script.away > 0

    def greeting(self) -> dict[str, Any]:
        """Return what a client is told first."""
        kind = self.tape.recorded.bars["contract"].dtype.name if "contract" in self.tape.columns else ""
        return {
            "account": self.setup.account,
            "digest": self.setup.digest,
            "columns": self.tape.columns,
            "contract": kind,
            "speed": self.setup.speed,
            "now": self.now(),
        }

    def stop(self) -> None:
        """Stop the clock."""
        if self._running is not None:
            self._running.cancel()

    # Questions.

    def answer(self, said: dict[str, Any], visit: Visit) -> None:
        """Answer a question of a client; Garbage where it is none."""
        key, do = said.get("id"), said.get("do")
        if not isinstance(key, int) or not isinstance(do, str):
            raise _wire.Garbage("no question")
        if do == "next":
            self._next(key, visit)
            return
        answer = self._answers.get(do)
        if answer is None:
            raise _wire.Garbage("an unknown question")
        try:
            found = {"ok": _wire.plain(answer(said))}
        except (KeyError, TypeError) as error:
            raise _wire.Garbage(f"{do}: {error}") from error
        except ValueError as error:
            found = {"error": str(error)}
        self._tell(_wire.line({"id": key, "now": self.now(), **found}))

    def _submit(self, said: dict[str, Any]) -> None:
        self.replay.submit(_wire.valued(said["bracket"], port.BracketOrder), self.clock.now())

    def _cancel(self, said: dict[str, Any]) -> None:
        self.replay.exchange.orders.cancel_ref(str(said["ref"]), self.clock.now())

    def _facts(self, said: dict[str, Any]) -> port.ContractFacts:
        contract, last_days = str(said["contract"]), self.tape.recorded.last_days
        if contract not in last_days:
            raise ValueError(f"no contract {contract!r}")
        traded = self.tape.recorded.strategy.instrument
        return port.ContractFacts(
            contract=contract,
            id=f"SIM-{contract or traded.name}",
            tick_size=traded.tick_size,
            tick_value=traded.tick_value,
            currency=traded.currency,
            last_day=last_days[contract],
        )

    def _history(self, said: dict[str, Any]) -> dict[str, Any]:
        """Return a page of rows up to `end`; those of slots that have not closed are not there yet."""
        end, begin = said["end"], int(said["from"])
        self._resume(end)
        known = self.tape.first if end is None else self.tape.number(int(end))
        last = self.tape.row_of(min(known, self.replay.at))
        return {**self.tape.page(begin, min(begin + _wire.PAGE, last)), "left": max(last - begin - _wire.PAGE, 0)}

    def _stream(self, said: dict[str, Any]) -> None:
        visit = self.visit
        if visit is None:
            return
        after = said["after"]
        self._resume(after)
        visit.backlog = self.replay.missed(None if after is None else int(after))[::-1]
        visit.cursor = len(self.replay.items)
        if self.setup.speed is not None and self._running is None:
            self.clock.set(self.replay.clock)
            self._running = asyncio.get_running_loop().create_task(self._run())

    def _resume(self, dealt_with: int | None) -> None:
        """Begin behind the bars that a client has dealt with already, where this venue is a new one."""
        if dealt_with is not None and self.replay.fresh:
            self.replay.skip(int(dealt_with))
            self.clock.set(self.replay.clock)

    def _finish(self, _said: dict[str, Any]) -> None:
        self.ended.set()

    # The stream.

    def _next(self, key: int, visit: Visit) -> None:
        """Answer with the next item: what was missed, what lies ready, or in lock-step what the next slot brings."""
        if not visit.backlog and self.setup.speed is None and visit.cursor >= len(self.replay.items):
            self._step()
        visit.waiting = key
        self._deliver()

    def _step(self) -> None:
        """Move the clock by a slot; where the script cuts the client off, by those that it is away for."""
        while not self.replay.over:
            self.replay.step()
            self.clock.set(self.replay.clock)
            self._cut()
            if not self.script.away:
                return

    def _deliver(self) -> None:
        """Send what has happened, and the item that is waited for, if it is there."""
        visit = self.visit
        if visit is None or visit.waiting is None:
            self._tell(b"")
            return
        item = None
        if visit.backlog:
            item = visit.backlog.pop()
        elif visit.cursor < len(self.replay.items):
            item = self.replay.items[visit.cursor]
            visit.cursor += 1
        elif not self.replay.over:
            self._tell(b"")
            return
        body = b'"end":true' if item is None else _wire.item(item, self.now())
        key, visit.waiting = visit.waiting, None
        self._tell(b'{"id":%d,"now":%d,%b}\n' % (key, self.now(), body))

    def _tell(self, text: bytes) -> None:
        """Send events, then a text, to whoever is there; events that nobody hears are gone."""
        said = b"".join(map(_wire.told, self.replay.take())) + text
        if said and self.visit is not None:
            self.visit.writer.write(said)

    def _cut(self) -> None:
        """Cut the client off without a word, if the script says so."""
        cuts, self.script.cuts = self.script.cuts, False
        if cuts and self.visit is not None:
            self.visit.writer.transport.abort()
            self.visit = None

    async def _run(self) -> None:
        """Let the clock run, client or not; hours in which the market is closed take as long as one bar."""
        while not self.replay.over:
            slot = self.replay.tape.slot(self.replay.at)
            await self.clock.until(min(slot.start, self.replay.clock + slot.close - slot.start))
            self.clock.set(max(slot.start, self.clock.now()))
            self.replay.open()
            self._cut()
            self._tell(_wire.line({"clock": self.now()}))
            await self.clock.until(slot.middle)
            self.replay.reach()
            self._tell(b"")
            await self.clock.until(slot.close)
            self.replay.close()
            self._deliver()
        self._deliver()
