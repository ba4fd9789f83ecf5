"""The venue of the simulated broker: a process of its own, which owns the replay clock, the bars and the account.

    python -m mnqplugins.brokers._venue FOLDER

FOLDER holds `setup.json`; the venue listens on a loopback port and writes it, with a token, to `port.json`. One client
at a time; its account outlives the client, and ends with `finish` or when nobody has come for `linger` seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore import port
from mnqplugins.brokers import _wire
from mnqplugins.brokers._faults import Script
from mnqplugins.brokers._replay import Replay, Tape, terms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_PATIENCE = 5.0  # seconds for a newcomer to say who it is
_GREETING = 4_096  # bytes


@attrs.frozen(kw_only=True)
class Setup:
    """What a venue is started with; `start` and `end` are UTC nanoseconds, `speed` is None for lock-step."""

    file: str
    plugins: tuple[str, ...]
    account: str
    token: str
    speed: float | None
    slippage: int | None
    equity: float | None
    faults: tuple[str, ...]
    start: int | None
    end: int | None
    linger: float
    digest: str

    @classmethod
    def read(cls, folder: Path) -> Setup:
        """Read it from the venue's folder."""
        values = json.loads((folder / "setup.json").read_text(encoding="utf-8"))
        return cls(**values | {name: tuple(values[name]) for name in ("plugins", "faults")})


class Clock:
    """The time of the replay, UTC ns: at `speed` x real time it runs, in lock-step (None) it stands where it is set."""

    def __init__(self, speed: float | None, at: int) -> None:
        self.speed, self._at, self._since = speed, at, time.monotonic()

    def now(self) -> int:
        """Return the time."""
        if self.speed is None:
            return self._at
        return self._at + int((time.monotonic() - self._since) * self.speed * 1e9)

    def set(self, at: int) -> None:
        """Put it on."""
        self._at, self._since = at, time.monotonic()

    async def until(self, moment: int) -> None:
        """Wait until it shows a moment."""
        while self.speed is not None and (left := moment - self.now()) > 0:
            await asyncio.sleep(left / 1e9 / self.speed)


class Visit:
    """One client's connection: where it is in the stream, and what it waits for."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.backlog: list[Any] = []
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
            raise SystemExit("no bars lie between start and end")
        self.tape, self.script = tape, Script(setup.faults)
        self.replay = Replay(tape, terms(tape.recorded, setup.account, setup.slippage, setup.equity), self.script)
        self.clock = Clock(setup.speed, self.replay.clock)
        self.visit: Visit | None = None
        self.ended = asyncio.Event()
        self._left_at = time.monotonic()
        self._running: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "account": lambda _said: self.replay.exchange.account.state(self.now()),
            "positions": lambda _said: self.replay.exchange.account.positions(),
            "open_orders": lambda _said: self.replay.exchange.open_orders(),
            "completed_orders": lambda _said: self.replay.exchange.completed_orders(),
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

    # Connections.

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection, whatever comes of it."""
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        visit = Visit(writer)
        try:
            if await self._admits(reader, visit):
                await self._serve(reader, visit)
        except (_wire.Garbage, ConnectionError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            log(f"a connection ended: {error or type(error).__name__}")
        finally:
            self._leaves(visit)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _admits(self, reader: asyncio.StreamReader, visit: Visit) -> bool:
        text = await asyncio.wait_for(reader.readline(), _PATIENCE)
        if len(text) > _GREETING:
            raise _wire.Garbage("a long greeting")
        said = _wire.message(text)
        token = said.get("token")
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self.setup.token.encode()):
            raise _wire.Garbage("a wrong token")
        refused = self._refuses(said)
        if refused:
            visit.writer.write(_wire.line({"refused": refused}))
            await visit.writer.drain()
            return False
        self.visit = visit
        visit.writer.write(_wire.line(self._greeting()))
        return True

    def _refuses(self, said: dict[str, Any]) -> str:
        if self.script.away:
            return "away"
        if self.visit is not None:
            return "in use"
        return "" if said.get("account") == self.setup.account else "account"

    def _greeting(self) -> dict[str, Any]:
        kind = self.tape.recorded.bars["contract"].dtype.name if "contract" in self.tape.columns else ""
        return {
            "account": self.setup.account,
            "digest": self.setup.digest,
            "columns": self.tape.columns,
            "contract": kind,
            "speed": self.setup.speed,
            "now": self.now(),
        }

    async def _serve(self, reader: asyncio.StreamReader, visit: Visit) -> None:
        while self.visit is visit and not self.ended.is_set():
            text = await reader.readline()
            if not text.endswith(b"\n"):
                return
            self._answer(_wire.message(text), visit)
            await visit.writer.drain()

    def _leaves(self, visit: Visit) -> None:
        if self.visit is visit:
            self.visit, self._left_at = None, time.monotonic()

    async def linger(self) -> None:
        """Wait until nobody has been there for too long, or the end was asked for."""
        while not self.ended.is_set():
            left = self.setup.linger - (time.monotonic() - self._left_at)
            if self.visit is None and left <= 0:
                log("nobody came")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), min(max(left, 0.05), 1.0))

    async def farewell(self) -> None:
        """Cut whoever is still there."""
        tasks = [task for task in [*self._tasks, self._running] if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Questions.

    def _answer(self, said: dict[str, Any], visit: Visit) -> None:
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
        self.replay.exchange.cancel(str(said["ref"]), self.clock.now())

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
        slots = self.tape.recorded.start
        known = self.tape.first if end is None else int(slots.searchsorted(int(end), side="right"))
        last = self.tape.row_of(min(known, self.replay.at))
        return {**self.tape.page(begin, min(begin + _wire.PAGE, last)), "left": max(last - begin - _wire.PAGE, 0)}

    def _stream(self, said: dict[str, Any]) -> None:
        visit = self.visit
        if visit is None:
            return
        after = said["after"]
        visit.backlog = self.replay.missed(None if after is None else int(after))[::-1]
        visit.cursor = len(self.replay.items)
        if self.setup.speed is not None and self._running is None:
            self.clock.set(self.replay.clock)
            self._running = asyncio.get_running_loop().create_task(self._run())

    def _finish(self, _said: dict[str, Any]) -> None:
        self.ended.set()

    # The stream.

    def _next(self, key: int, visit: Visit) -> None:
        """Answer with the next item: what was missed, what lies ready, or in lock-step what the next slot brings."""
        if not visit.backlog and self.setup.speed is None and visit.cursor >= len(self.replay.items):
            self._step(visit)
        visit.waiting = key
        self._deliver()

    def _step(self, visit: Visit) -> None:
        """Move the clock by a slot; where the script cuts the client off, by those that it is away for."""
        while not self.replay.over:
            self.replay.step()
            self.clock.set(self.replay.clock)
            if self.script.away and self.visit is visit:
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
        body = b'"end":true' if item is None else item.body(self.now())
        key, visit.waiting = visit.waiting, None
        self._tell(b'{"id":%d,"now":%d,%b}\n' % (key, self.now(), body))

    def _tell(self, text: bytes) -> None:
        """Send events, then a text, to whoever is there; events that nobody hears are gone."""
        said = b"".join(map(_wire.told, self.replay.take())) + text
        if said and self.visit is not None:
            self.visit.writer.write(said)

    def _cut(self) -> None:
        """Cut the client off without a word."""
        if self.visit is not None:
            self.visit.writer.transport.abort()
            self.visit, self._left_at = None, time.monotonic()

    async def _run(self) -> None:
        """Let the clock run, client or not; hours in which the market is closed take no time."""
        while not self.replay.over:
            slot = self.replay.tape.slot(self.replay.at)
            if slot.start > self.clock.now():
                self.clock.set(slot.start)
            self.replay.open()
            if self.script.away:
                self._cut()
            self._tell(_wire.line({"clock": self.now()}))
            await self.clock.until(slot.middle)
            self.replay.reach()
            self._tell(b"")
            await self.clock.until(slot.close)
            self.replay.close()
            self._deliver()
        self._deliver()


def log(text: str) -> None:
    """Write a line to the venue's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z {text}\n")
    sys.stderr.flush()


def publish(folder: Path, found: dict[str, Any]) -> None:
    """Write the port file, for its owner alone, in one stroke."""
    fresh = folder / f"{_wire.PORT_FILE}.{os.getpid()}"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(found, file)
    fresh.replace(folder / _wire.PORT_FILE)


async def serve(folder: Path) -> None:
    """Serve until the end."""
    setup = Setup.read(folder)
    venue = Venue(setup)
    server = await asyncio.start_server(venue.welcome, "127.0.0.1", 0, limit=_wire.QUESTION)
    number = server.sockets[0].getsockname()[1]
    publish(folder, {"port": number, "token": setup.token, "pid": os.getpid(), "digest": setup.digest})
    log(f"listens on port {number}, {venue.tape.last - venue.tape.first} slots")
    try:
        await venue.linger()
    finally:
        server.close()
        (folder / _wire.PORT_FILE).unlink(missing_ok=True)
        await asyncio.sleep(0.05)  # what was said last is on its way
        await venue.farewell()
    log("ended")


def main() -> None:
    """Serve the folder named on the command line."""
    asyncio.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
