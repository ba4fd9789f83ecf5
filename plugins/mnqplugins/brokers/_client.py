"""The client's side of the simulated broker: one connection, found again when it is lost, and what comes over it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any, TypeVar

from mnqcore import BrokerError, port
from mnqplugins.brokers import _start, _wire
from mnqplugins.brokers._frames import Frames
from mnqplugins.brokers._link import Link, Lost, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pandas as pd

    from mnqcore import BarRequest

_Kind = TypeVar("_Kind")
_PATIENCE = 10.0  # seconds for an answer
_GONE = 2.0  # seconds in which nobody listens until the venue counts as gone
_AWAY = 5.0  # seconds that `connect` waits for a venue that is away, or that ends
_BUSY = 1.0  # seconds that it waits for one that is busy with a client: it may just have gone
_PAUSE = 0.02
_LATE = 1.0  # seconds that the news of the clock may be on its way


class Client:
    """A client of the venue; connects again by itself when the connection is lost."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._login: port.Login | None = None
        self._frames: Frames | None = None
        self._events: asyncio.Queue[port.Event | None] = asyncio.Queue()
        self._closed = False
        self._back = asyncio.Event()
        """Set while connected, and when there is no hope of it."""
        self._returning: asyncio.Task[None] | None = None
        self._speed: float | None = None
        self._clock, self._since, self._shown = 0, 0.0, 0

    # Connecting.

    def exists(self, login: port.Login) -> bool:
        """Whether something listens where the venue of a login said it would."""
        found = _start.find(_start.folder_of(login))
        if found is None:
            return False
        try:
            socket.create_connection(("127.0.0.1", int(found["port"])), _AWAY).close()
        except (OSError, ValueError, KeyError):
            return False
        return True

    async def connect(self, login: port.Login, settings: dict[str, Any]) -> None:
        """Find the venue or start it, and connect; BrokerError says why not."""
        if self._link is not None and self._link.alive:
            return
        self._stop_returning()
        lost, self._login = self._link is not None, login
        if self._closed:
            self._events, self._closed = asyncio.Queue(), False
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
        begun = time.monotonic()
        while found := _start.find(_start.folder_of(login)):
            try:
                return await Link.open(self, found, login.account)
            except Refused as error:
                patience = {"account": 0.0, "in use": _BUSY}.get(str(error), _AWAY)
                if time.monotonic() - begun > patience:
                    raise _refused(str(error), login) from error
            except ConnectionRefusedError:
                return None  # its process is gone
            except (OSError, _wire.Garbage) as error:
                if time.monotonic() - begun > _AWAY:
                    raise _no_venue(str(error), login) from error
            await asyncio.sleep(_PAUSE)
        return None

    def _take(self, link: Link) -> None:
        self._link, self._speed = link, link.greeting["speed"]
        self._frames = Frames(link.greeting["columns"], link.greeting["contract"])
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
        self._closed = True
        self._events.put_nowait(None)

    async def finish(self) -> None:
        """End the venue, and hang up."""
        if self._link is not None and self._link.alive:
            with contextlib.suppress(Lost):
                await self._link.ask("finish")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._link.ended.wait(), _AWAY)
        await self.close()

    # Time.

    def clock_is(self, now: int) -> None:
        """Hear what the replay's clock shows."""
        self._clock, self._since = now, time.monotonic()

    def now(self) -> int:
        """Return what it shows now; news of it that was long on its way does not turn it back."""
        if self._speed is None:
            return self._clock
        shown = self._clock + int((time.monotonic() - self._since) * self._speed * 1e9)
        if not 0 < self._shown - shown < self._speed * _LATE * 1e9:
            self._shown = shown
        return self._shown

    # Questions.

    async def query(self, do: str, kind: type[_Kind], **fields: Any) -> _Kind:
        """Return the answer as a value of `kind`; BrokerError where there is none."""
        return _wire.valued(await self._asked(do, fields), kind)

    async def cancel(self, ref: str) -> None:
        """Ask for an order to be cancelled; BrokerError where nobody hears it."""
        await self._asked("cancel", {"ref": ref})

    async def _asked(self, do: str, fields: dict[str, Any]) -> Any:
        try:
            answer = await asyncio.wait_for(self._linked().ask(do, **fields), _PATIENCE)
        except (Lost, TimeoutError) as error:
            raise _away("no answer came") from error
        if "error" in answer:
            raise BrokerError(f"the simulated broker refused: {do}", found=answer["error"])
        return answer["ok"]

    async def submit(self, bracket: port.BracketOrder) -> None:
        """Send orders; where no answer comes they may have arrived, and queries tell."""
        link = self._linked()
        try:
            answer = await asyncio.wait_for(link.ask("submit", bracket=_wire.plain(bracket)), _PATIENCE)
        except (Lost, TimeoutError):
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
            with contextlib.suppress(Lost):
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
            page = await self._asked("history", {"end": end, "from": len(times)})
            times += page["times"]
            for column, more in zip(columns, page["rows"], strict=True):
                column += more
            left = page["left"]
        return frames.whole(times, columns)


_OTHER = "the venue was started with other settings, or on another file: it goes on with those"


def _away(found: str) -> BrokerError:
    return BrokerError("the simulated broker does not answer", found=found, next="connect again")


def _no_venue(found: str, login: port.Login) -> BrokerError:
    where = _start.folder_of(login) / _wire.PORT_FILE
    return BrokerError(
        "nobody answers where the simulated venue should be",
        where=str(where),
        found=found,
        next="if its process is gone, remove that file",
    )


def _refused(why: str, login: port.Login) -> BrokerError:
    what = {"in use": "another session is connected to this venue", "account": "the venue keeps another account"}
    return BrokerError(
        what.get(why, "the venue lets nobody in now"),
        where=login.folder,
        found=why,
        next="end the other session, or take another folder",
    )
