"""Tells of a plugin that does not come back: on the screen first, and in the end by ending the run with its name."""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from mnqcore.errors import PluginError, UsageError
from mnqcore.plugins.blame import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENVIRONMENT = "MNQ_PLUGIN_SECONDS"
"""The variable with the seconds that one call of a plugin may take; 0 is without end."""
_LIMIT = 1800.0
_TELL = 60.0
_LOG = logging.getLogger(__name__)


class Call:
    """One way in which a plugin is asked; `begin` and `end` are called around each time, and cost next to nothing.

    `asked`: how many times by now: two looks at the same number see the same call.
    """

    __slots__ = ("asked", "method", "module", "owner", "title")

    def __init__(self, title: str, owner: str, module: str, method: str) -> None:
        self.title, self.owner, self.module, self.method = title, owner, module, method
        self.asked = 0

    def begin(self) -> None:
        """Note that the plugin is asked now."""
        self.asked += 1
        _RUNNING[self] = None

    def end(self) -> None:
        """Note that it came back."""
        del _RUNNING[self]

    def overdue(self, seconds: float, error: BaseException) -> PluginError:
        """Return the error that the plugin was still at it when it was interrupted."""
        where = place(error, self.module)
        return PluginError(
            f"{self.title} did not come back within {seconds:,g} s",
            who=f"{self.owner}{f', {where}' if where else ''} in {self.method}",
            next=f"if it only needs longer: {ENVIRONMENT}={2 * seconds:.0f}, or 0 for no limit",
        )


_RUNNING: dict[Call, None] = {}
"""The calls that have not come back; a dict, since each of its steps is whole for any thread that looks."""
_ON = threading.Lock()


@contextlib.contextmanager
def watched(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Watch the plugins that are asked meanwhile; within a watch that is on already, do nothing more.

    Where one call takes longer than `MNQ_PLUGIN_SECONDS` (1,800), the main thread is interrupted, as by Ctrl-C. Code
    that never returns to Python, and work outside the main thread, can only be told of, not ended.

    Raises:
        PluginError: a plugin did not come back; names it, and the line at which it was.
        UsageError: the variable is no number of seconds.
    """
    limit = _limit(environ.get(ENVIRONMENT))
    if not _ON.acquire(blocking=False):
        yield
        return
    watch = _Watch(limit, can_end=threading.current_thread() is threading.main_thread())
    try:
        with watch:
            yield
    except KeyboardInterrupt as error:
        if watch.ended is None:  # it was Ctrl-C
            raise
        raise watch.ended.overdue(limit, error) from error
    finally:
        _ON.release()


class _Watch:
    """A thread that looks at what is running, and the interrupt that it ends it with."""

    def __init__(self, limit: float, *, can_end: bool) -> None:
        self.ended: Call | None = None
        self._limit, self._can_end = limit, can_end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="mnq-watch", daemon=True)
        self._before: Any = None

    def __enter__(self) -> None:
        if self._can_end and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a pool's processes
            self._before = signal.signal(signal.SIGINT, self._interrupted)
        self._thread.start()

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _interrupted(self, *_signal: object) -> None:
        if self.ended is not None:
            raise KeyboardInterrupt

    def _look(self) -> None:
        first = min(_TELL, self._limit / 2)
        since: dict[Call, tuple[int, float, float]] = {}  # call -> its number, when it was first seen, when to tell
        while not self._over.wait(min(1.0, first / 4)):
            now = time.monotonic()
            running = [*_RUNNING]
            since = {call: found for call, found in since.items() if call in running and found[0] == call.asked}
            for call in running:
                number, began, tell = since.get(call, (call.asked, now, first))
                if now - began >= self._limit and self._can_end:
                    self._end(call)
                elif now - began >= tell:
                    _LOG.warning("%s (%s) has been in %s for %.0f s", call.title, call.owner, call.method, now - began)
                    tell *= 2
                since[call] = number, began, tell

    def _end(self, call: Call) -> None:
        self.ended = call
        if hasattr(signal, "pthread_kill"):  # this one wakes what sleeps, too
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            _thread.interrupt_main()


def _limit(text: str | None) -> float:
    """Return the seconds that a call may take, infinite for 0."""
    try:
        seconds = float(text) if text else _LIMIT
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UsageError(f"{ENVIRONMENT} is no number of seconds", found=str(text), next="600, or 0 for no limit")
    return seconds or float("inf")
