"""The client's side of the simulated broker: one connection, found again when it is lost, and what comes over it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from mnqcore import BrokerError, port
from mnqplugins.brokers import _start, _wire
from mnqplugins.brokers._frames import Frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pandas as pd

    from mnqcore import BarRequest

_GONE = 2.0  # seconds in which nobody listens until the venue counts as gone
_AWAY = 5.0  # seconds that `connect` waits for a venue that is away, or busy with a client just gone
_PAUSE = 0.02


class _Lost(Exception):
    """The connection ended before the answer came."""


class Refused(Exception):
    """The venue does not let this client in: "away", "in use", "account"."""


class Link:
    """One connection: questions with their answers; what the venue says unasked goes to `client`."""

    def __init__(self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.client, self.reader, self.writer = client, reader, writer
        self.greeting: dict[str, Any] = {}
        self.alive = True
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, client: Client, found: dict[str, Any], account: str) -> Link:
        """Connect; OSError where nobody listens, Refused where the venue says no."""
        reader, writer = await asyncio.open_connection("127.0.0.1", found["port"], limit=_wire.ANSWER)
        link = cls(client, reader, writer)
        try:
            writer.write(_wire.line({"token": found["token"], "account": account}))
            text = await reader.readline()
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
        """Return the answer to a question; _Lost where it did not come."""
        if not self.alive:
            raise _Lost
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
        for future in self._asked.values():
            if not future.done():
                future.set_exception(_Lost())


class Client:
    """A client of the venue; connects again by itself when the connection is lost."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._login: port.Login | None = None
        self._frames: Frames | None = None
        self._events: asyncio.Queue[port.Event | None] = asyncio.Queue()
        self._back = asyncio.Event()
        """Set while connected, and when there is no hope of it."""
        self._returning: asyncio.Task[None] | None = None
        self._speed: float | None = None
        self._clock, self._since = 0, 0.0

    # Connecting.

    async def connect(self, login: port.Login, settings: dict[str, Any]) -> None:
        """Find the venue or start it, and connect; BrokerError says why not."""
        if self._link is not None and self._link.alive:
            return
        self._stop_returning()
        lost, self._login = self._link is not None, login
        link = await self._reach(login) or await self._begin(login, settings)
        self._take(link)
        if lost:
            self._events.put_nowait(port.Restored(time=self.now()))
        if link.greeting["digest"] != _start.digest(login, settings):
            self._events.put_nowait(port.Warned(time=self.now(), code="settings", why=_OTHER))

    async def _begin(self, login: port.Login, settings: dict[str, Any]) -> Link:
        found = await _start.start(login, settings)
        try:
            return await Link.open(self, found, login.account)
        except (OSError, Refused, _wire.Garbage) as error:
            raise _away(str(error)) from error

    async def _reach(self, login: port.Login) -> Link | None:
        """Return a connection to the venue that is there already, None where there is none."""
        until = time.monotonic() + _AWAY
        while found := _start.find(_start.folder_of(login)):
            try:
                return await Link.open(self, found, login.account)
            except Refused as error:
                if str(error) == "account" or time.monotonic() > until:
                    raise _refused(str(error), login) from error
            except ConnectionRefusedError:
                return None  # its process is gone
            except (OSError, _wire.Garbage) as error:
                if time.monotonic() > until:
                    raise _away(str(error)) from error
            await asyncio.sleep(_PAUSE)
        return None

    def _take(self, link: Link) -> None:
        self._link, self._speed = link, link.greeting["speed"]
        self._frames = self._frames or Frames(link.greeting["columns"], link.greeting["contract"])
        self.clock_is(link.greeting["now"])
        link.begin()
        self._back.set()

    def lost(self, link: Link) -> None:
        """Hear that a connection has ended, and try to find the venue again."""
        if link is not self._link:
            return
        self._back.clear()
        self._events.put_nowait(port.Disconnected(time=self.now(), why="the connection to the venue ended"))
        self._returning = asyncio.get_running_loop().create_task(self._return())

    async def _return(self) -> None:
        """Try until the venue is there again, or has been gone for too long."""
        login, gone = self._login, time.monotonic()
        while login is not None and time.monotonic() - gone < _GONE:
            await asyncio.sleep(_PAUSE)
            found = _start.find(_start.folder_of(login))
            try:
                if found is not None:
                    link = await Link.open(self, found, login.account)
                    self._take(link)
                    self._events.put_nowait(port.Restored(time=self.now()))
                    return
            except Refused as error:
                if str(error) == "away":
                    gone = time.monotonic()
            except (OSError, _wire.Garbage):
                pass
        self._back.set()

    def _stop_returning(self) -> None:
        if self._returning is not None:
            self._returning.cancel()
            self._returning = None

    async def close(self) -> None:
        """Hang up; `events` and `stream` end."""
        self._stop_returning()
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        self._back.set()
        self._events.put_nowait(None)

    async def finish(self) -> None:
        """End the venue, and hang up."""
        if self._link is not None and self._link.alive:
            with contextlib.suppress(_Lost):
                await self._link.ask("finish")
        await self.close()

    # Time.

    def clock_is(self, now: int) -> None:
        """Hear what the replay's clock shows."""
        self._clock, self._since = now, time.monotonic()

    def now(self) -> int:
        """Return what it shows now."""
        if self._speed is None:
            return self._clock
        return self._clock + int((time.monotonic() - self._since) * self._speed * 1e9)

    # Questions.

    async def query(self, do: str, kind: Any, **fields: Any) -> Any:
        """Return the answer as a value of `kind`; BrokerError where there is none."""
        try:
            answer = await self._linked().ask(do, **fields)
        except _Lost as error:
            raise _away("the connection ended before the answer") from error
        if "error" in answer:
            raise BrokerError(f"the simulated broker refused: {do}", found=answer["error"])
        return None if kind is None else _wire.valued(answer["ok"], kind)

    async def submit(self, bracket: port.BracketOrder) -> None:
        """Send orders; where the connection ends before the answer they may have arrived, and queries tell."""
        link = self._linked()
        try:
            answer = await link.ask("submit", bracket=_wire.plain(bracket))
        except _Lost:
            return
        if "error" in answer:
            raise BrokerError("the simulated broker took no order", found=answer["error"])

    def _linked(self) -> Link:
        if self._link is None or not self._link.alive:
            raise _away("not connected")
        return self._link

    # What comes.

    def heard(self, event: port.Event) -> None:
        """Take an event."""
        self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[port.Event]:
        """Yield events until `close`."""
        while (event := await self._events.get()) is not None:
            yield event

    async def stream(self, request: BarRequest) -> AsyncIterator[port.Delivered]:
        """Yield bars; after a connection was lost, go on after the last closed one."""
        after = None if request.start is None else int(request.start.as_unit("ns").value)
        while True:
            await self._back.wait()
            link = self._linked()
            with contextlib.suppress(_Lost):
                await link.ask("stream", after=after)
                while "end" not in (said := await link.ask("next")):
                    yield self._delivered(said)
                    if not said["forming"]:
                        after = max(after or 0, said["start"])
                return

    def _delivered(self, said: dict[str, Any]) -> port.Delivered:
        if self._frames is None:
            raise _away("not connected")
        table = self._frames.one(said["start"], said["rows"])
        return port.Delivered(bars=table, time=said["time"], forming=said["forming"])

    async def history(self, request: BarRequest) -> pd.DataFrame:
        """Return the bars up to `request.end`, page by page."""
        end = None if request.end is None else int(request.end.as_unit("ns").value)
        frames, times = self._frames, list[int]()
        if frames is None:
            raise _away("not connected")
        columns: list[list[Any]] = [[] for _ in frames.columns]
        left = 1
        while left:
            page = await self.query("history", dict[str, Any], end=end, **{"from": len(times)})
            times += page["times"]
            for column, more in zip(columns, page["rows"], strict=True):
                column += more
            left = page["left"]
        return frames.whole(times, columns)


_OTHER = "the venue was started with other settings, or on another file: it goes on with those"


def _away(found: str) -> BrokerError:
    return BrokerError("the simulated broker does not answer", found=found, next="connect again")


def _refused(why: str, login: port.Login) -> BrokerError:
    what = {"in use": "another session is connected to this venue", "account": "the venue keeps another account"}
    return BrokerError(
        what.get(why, "the venue lets nobody in now"),
        where=login.folder,
        found=why,
        next="end the other session, or take another folder",
    )
