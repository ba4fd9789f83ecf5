"""The process of a venue: its port, who is let in, and its end.

    python -m mnqplugins.brokers._server FOLDER

FOLDER holds `setup.json`; the venue listens on a loopback port and writes it, with a token, to `port.json`. One client
at a time; the account outlives it, and ends with `finish` or when nobody has come for `linger` seconds.
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

from mnqplugins.brokers import _wire
from mnqplugins.brokers._setup import Setup
from mnqplugins.brokers._venue import Venue, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 5.0  # seconds for a newcomer to say who it is
_GREETING = 4_096  # bytes


class Door:
    """Lets clients in to a venue, one at a time."""

    def __init__(self, venue: Venue) -> None:
        self.venue, self.setup = venue, venue.setup
        self._tasks: set[asyncio.Task[None]] = set()
        self._left_at = time.monotonic()

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
        except (_wire.Garbage, ConnectionError, TimeoutError, ValueError) as error:
            log(f"a connection ended: {error or type(error).__name__}")
        except asyncio.CancelledError:
            pass  # the venue ends
        finally:
            self._leaves(visit)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def linger(self, found: Callable[[], bool]) -> None:
        """Wait until nobody has been there for too long, nobody can find it, or the end was asked for."""
        while not self.venue.ended.is_set():
            left = self.setup.linger - (time.monotonic() - self._left_at)
            if self.venue.visit is not None:
                left = self.setup.linger
            elif left <= 0 or not found():
                log("nobody came" if left <= 0 else "its port file is gone")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.venue.ended.wait(), min(left, 1.0))

    async def shut(self) -> None:
        """Cut whoever is still there."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _admits(self, reader: asyncio.StreamReader, visit: Visit) -> bool:
        text = await asyncio.wait_for(reader.readline(), _PATIENCE)
        if not text:
            return False
        if len(text) > _GREETING:
            raise _wire.Garbage("a long greeting")
        said = _wire.message(text)
        token = said.get("token")
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self.setup.token.encode()):
            raise _wire.Garbage("a wrong token")
        if refused := self._refuses(said):
            visit.writer.write(_wire.line({"refused": refused}))
            await visit.writer.drain()
            return False
        visit.writer.write(_wire.line(self.venue.greeting()))
        self.venue.visit = visit
        return True

    def _refuses(self, said: dict[str, Any]) -> str:
        if self.venue.away:
            return "away"
        if self.venue.visit is not None:
            return "in use"
        return "" if said.get("account") == self.setup.account else "account"

    async def _serve(self, reader: asyncio.StreamReader, visit: Visit) -> None:
        while self.venue.visit is visit and not self.venue.ended.is_set():
            text = await reader.readline()
            if not text.endswith(b"\n"):
                return
            self.venue.answer(_wire.message(text), visit)
            await visit.writer.drain()

    def _leaves(self, visit: Visit) -> None:
        self._left_at = time.monotonic()
        if self.venue.visit is visit:
            self.venue.visit = None


def log(text: str) -> None:
    """Write a line to the venue's log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z {text}\n")
    sys.stderr.flush()


def _publish(folder: Path, found: dict[str, Any]) -> None:
    """Write the port file, for its owner alone, in one stroke."""
    fresh = folder / f"{_wire.PORT_FILE}.{os.getpid()}"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(found, file)
    fresh.replace(folder / _wire.PORT_FILE)


def _published(folder: Path) -> str:
    """Return the token of the port file, empty where there is none."""
    try:
        return str(json.loads((folder / _wire.PORT_FILE).read_text(encoding="utf-8"))["token"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


async def serve(folder: Path) -> None:
    """Serve until the end."""
    setup = Setup.read(folder)
    door = Door(Venue(setup))
    server = await asyncio.start_server(door.welcome, "127.0.0.1", 0, limit=_wire.QUESTION)
    number = server.sockets[0].getsockname()[1]
    _publish(folder, {"port": number, "token": setup.token, "pid": os.getpid()})
    log(f"listens on port {number}")
    try:
        await door.linger(lambda: _published(folder) == setup.token)
    finally:
        server.close()
        if _published(folder) == setup.token:
            (folder / _wire.PORT_FILE).unlink(missing_ok=True)
        await asyncio.sleep(0.05)  # what was said last is on its way
        door.venue.stop()
        await door.shut()
    log("ended")


def main() -> None:
    """Serve the folder named on the command line; the last line of the log says why it ended."""
    from mnqcore import MnqError

    try:
        asyncio.run(serve(Path(sys.argv[1])))
    except MnqError as error:
        log(" ".join(str(error).split()))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
