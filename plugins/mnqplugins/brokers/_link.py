"""One connection to a venue: questions with their answers, and what it says unasked."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from mnqplugins.brokers import _wire

if TYPE_CHECKING:
    from mnqcore import port

_PATIENCE = 5.0  # seconds for a greeting


class Hears(Protocol):
    """Who hears what comes over a connection."""

    def heard(self, event: port.Event) -> None:
        """Take an event."""
        ...

    def clock_is(self, now: int) -> None:
        """Hear what the replay's clock shows, UTC ns."""
        ...

    def lost(self, link: Link) -> None:
        """Hear that the connection has ended, not by `close`."""
        ...


class Lost(Exception):
    """The connection ended before the answer came."""


class Refused(Exception):
    """The venue does not let this client in: "away", "in use", "account"."""


class Link:
    """One connection: questions with their answers; what the venue says unasked goes to `client`."""

    def __init__(self, client: Hears, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client, self.reader, self.writer = client, reader, writer
        self.greeting: dict[str, Any] = {}
        self.alive, self.ended = True, asyncio.Event()
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, client: Hears, found: dict[str, Any], account: str) -> Link:
        """Connect; OSError (a TimeoutError too) where nobody answers, Refused where the venue says no."""
        reader, writer = await asyncio.open_connection("127.0.0.1", found["port"], limit=_wire.ANSWER)
        link = cls(client, reader, writer)
        try:
            writer.write(_wire.line({"token": found["token"], "account": account}))
            text = await asyncio.wait_for(reader.readline(), _PATIENCE)
            if not text:
                raise ConnectionResetError("it hung up")
            link.greeting = _wire.message(text)
            if "refused" in link.greeting:
                raise Refused(link.greeting["refused"])
        except BaseException:
            writer.close()
            raise
        return link

    def begin(self) -> None:
        """Read what comes from now on."""
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Return the answer to a question; Lost where it did not come."""
        if not self.alive:
            raise Lost
        self._count += 1
        key = self._count
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[key] = future
        try:
            self.writer.write(_wire.line({"id": key, "do": do, **fields}))
            return await future
        finally:
            self._asked.pop(key, None)

    async def close(self) -> None:
        """Hang up."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._end()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def _read(self) -> None:
        try:
            while (text := await self.reader.readline()).endswith(b"\n"):
                self._hear(_wire.message(text))
        except (OSError, ValueError, _wire.Garbage):
            pass
        self._end()
        self.writer.close()
        self.client.lost(self)

    def _hear(self, said: dict[str, Any]) -> None:
        if "event" in said:
            self.client.heard(_wire.heard(said))
        elif "id" in said:
            self.client.clock_is(said["now"])
            future = self._asked.get(said["id"])
            if future is not None and not future.done():
                future.set_result(said)
        else:
            self.client.clock_is(said["clock"])

    def _end(self) -> None:
        self.alive = False
        self.ended.set()
        for future in self._asked.values():
            if not future.done():
                future.set_exception(Lost())
