"""What is seen of a session while it runs: a screen in place, a line a day where there is no terminal, or JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, TextIO

from mnqcore.cli.session_screen import alert_line, lines
from mnqcore.cli.table import dollars
from mnqcore.stages.reports import day_text
from mnqcore.trading.session import Watcher
from mnqcore.trading.status import Board

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.trading.session import Session

_DRAWN = 0.25
"""Seconds between two screens."""
_LONGEST_SHARE = 0.02
"""Share of the time that showing may take: it waits longer where a screen is slow."""


class View(Watcher):
    """Shows a session."""

    def __init__(self, out: TextIO) -> None:
        self._board, self._out, self._next = Board(), out, 0.0

    def alert(self, level: str, message: str) -> None:
        """Say what a person should know."""
        self._board.alert(level, message)
        self._say(alert_line(level, message))

    def looked(self, session: Session) -> None:
        """Show how it stands, if it is time."""
        began = time.monotonic()
        if began < self._next:
            return
        self._board.changed(session)
        self._show(session)
        took = time.monotonic() - began
        self._next = began + max(_DRAWN, took / _LONGEST_SHARE)

    def close(self) -> None:
        """Show nothing more."""

    def _show(self, session: Session) -> None:
        raise NotImplementedError

    def _say(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()


class Screen(View):
    """A screen that is drawn again and again in its place; alerts go by above it."""

    _height = 0

    def alert(self, level: str, message: str) -> None:
        """Say it above the screen."""
        self._wipe()
        super().alert(level, message)

    def close(self) -> None:
        """Leave the last screen where it is."""
        self._height = 0

    def _show(self, session: Session) -> None:
        wide = shutil.get_terminal_size().columns
        drawn = [line[:wide] for line in lines(self._board.document(session))]
        self._out.write(self._back() + "\n".join(drawn) + "\n")
        self._out.flush()
        self._height = len(drawn)

    def _wipe(self) -> None:
        self._out.write(self._back())
        self._height = 0

    def _back(self) -> str:
        """Return what leads the cursor to the first line of the last screen, and clears from there."""
        return f"\x1b[{self._height}F\x1b[J" if self._height else ""


class Lines(View):
    """A line for each trading day that is over, and each alert, for logs."""

    _began: tuple[int, int, int] | None = None
    _seen: tuple[int, int, str] = (0, 0, "")

    def looked(self, session: Session) -> None:
        """Say what a trading day came to once the next one has begun."""
        last = session.desk.last
        if last is None:
            return
        books = session.desk.memory.books
        day, count = session.desk.clock.trading_day(last.start), len(books.rows)
        if self._began is None or day != self._began[0]:
            self._tell()
            self._began = (day, int(books.ledger["day_equity"][0]), count)
        self._seen = (int(books.ledger["equity"][0]), count, session.desk.memory.state.value)

    def close(self) -> None:
        """Say what the last day came to so far."""
        self._tell()

    def _tell(self) -> None:
        if self._began is None:
            return
        (day, before, trades), (equity, count, state) = self._began, self._seen
        made = (equity - before) / 1_000_000
        self._say(
            f"{day_text(day)}  {state:<8}  day {dollars(made):>12}  trades {count - trades:>3}  in all {count:>5}"
        )


class Documents(View):
    """The status as lines of JSON."""

    def alert(self, level: str, message: str) -> None:
        """Let the next document tell of it."""
        self._board.alert(level, message)

    def _show(self, session: Session) -> None:
        self._say(json.dumps(self._board.document(session), allow_nan=False))


class Silent(View):
    """Only alerts."""

    def looked(self, session: Session) -> None:
        """Show nothing."""


def view_of(context: Context, out: TextIO) -> View:
    """Return what fits the terminal and what was asked for; `out` is where JSON goes."""
    if context.format == "json":
        return Documents(out)
    if context.verbose < 0:
        return Silent(sys.stderr)
    return Screen(sys.stderr) if _draws() else Lines(sys.stderr)


def _draws() -> bool:
    """Whether a screen can be drawn in its place."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    if sys.platform == "win32":  # an empty command lets the console understand where the cursor is to go
        os.system("")
    return True
