"""One way that alerts go: a bounded queue, and the thread that empties it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import attrs

from mnqcore.strategy.trade import LEVELS
from mnqcore.trading import web

if TYPE_CHECKING:
    from mnqcore.trading.senders import Message, Sender

_LOG = logging.getLogger(__name__)
QUEUED = 100
"""How many alerts may wait; of more, the oldest go."""
REMEMBERED = 1_000
"""How many different alerts of the last minute are known again; more of them are sent each time."""


@attrs.define
class _Repeats:
    """The same alert again: until when it is only counted, and how often that was."""

    message: Message
    until: float
    more: int = 0


class Channel(threading.Thread):
    """Sends the alerts that it is offered, in order; `offer` never waits for a file or a host."""

    def __init__(self, title: str, sender: Sender, min_level: str, window: float, pauses: tuple[float, ...]) -> None:
        super().__init__(name=f"mnq-{title}", daemon=True)
        self._title, self._sender, self._least = title, sender, LEVELS.index(min_level)
        self._window, self._pauses = window, pauses
        self._queue: deque[Message] = deque()
        self._repeats: dict[tuple[str, str], _Repeats] = {}
        self._lost, self._failing = 0, False
        self._changed = threading.Condition()
        self._finished = threading.Event()

    def offer(self, message: Message) -> None:
        """Queue an alert, or count it where it was sent a moment ago."""
        key = (message.level, message.text)
        with self._changed:
            if self._finished.is_set() or LEVELS.index(message.level) < self._least:
                return
            self._expire(time.monotonic())
            if known := self._repeats.get(key):
                known.more += 1
                known.message = message
                return
            if len(self._repeats) < REMEMBERED:
                self._repeats[key] = _Repeats(message, time.monotonic() + self._window)
            self._enqueue(message)

    def finish(self) -> None:
        """Take nothing more; the thread ends once it has sent what is queued."""
        with self._changed:
            self._expire(float("inf"))
            self._finished.set()
            self._changed.notify()

    def run(self) -> None:
        """Send until there is nothing left and nothing more can come."""
        while (message := self._next()) is not None:
            if self._sent(message):
                self._tell_lost(message)
            else:
                with self._changed:
                    self._lost += 1

    def _next(self) -> Message | None:
        with self._changed:
            while not self._queue and not self._finished.is_set():
                soonest = min((one.until for one in self._repeats.values()), default=None)
                self._changed.wait(None if soonest is None else max(0.0, soonest - time.monotonic()))
                self._expire(time.monotonic())
            return self._queue.popleft() if self._queue else None

    def _expire(self, now: float) -> None:
        """Queue the counts of alerts that were repeated, once their time is over; those go on to be counted."""
        for key in [key for key, one in self._repeats.items() if one.until <= now]:
            one = self._repeats.pop(key)
            if one.more:
                times = "once more" if one.more == 1 else f"{one.more} more times"
                text = f"{one.message.text} ({times} within {self._window:g} s)"
                self._enqueue(attrs.evolve(one.message, text=text, count=one.more))
                self._repeats[key] = _Repeats(one.message, now + self._window)

    def _enqueue(self, message: Message) -> None:
        if len(self._queue) >= QUEUED:
            self._queue.popleft()
            self._lost += 1
        self._queue.append(message)
        self._changed.notify()

    def _sent(self, message: Message) -> bool:
        """Try to send, a few times; say once that it does not work."""
        error: Exception | None = None
        for pause in (*self._pauses, 0.0):
            error = self._attempt(message)
            if error is None or not web.passing(error):
                break
            self._finished.wait(pause)
        if error is not None and not self._failing:
            _LOG.warning("%s does not work: %s", self._title, web.reason(error))
        self._failing = error is not None
        return not self._failing

    def _attempt(self, message: Message) -> Exception | None:
        try:
            self._sender(message)
        except Exception as error:  # of a file, a host or a library: none may end the thread
            return error
        return None

    def _tell_lost(self, after: Message) -> None:
        """Tell how many alerts were lost before one that was sent."""
        with self._changed:
            lost = self._lost
        if not lost:
            return
        noun = "alert was" if lost == 1 else "alerts were"
        notice = attrs.evolve(after, level="warning", text=f"{lost} {noun} lost before this one", count=1)
        if self._sent(notice):
            with self._changed:
                self._lost -= lost
