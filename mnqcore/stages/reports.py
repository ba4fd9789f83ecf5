"""What a trading day, and a session, came to: from the journal, so that a restart loses nothing of it.

A report a day is an entry of the journal and a file `reports/DAY.json`. All of it counts what the journal holds of
that day: trades that were booked, orders that were refused and by which rule, what the broker rejected, what was odd.
"""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.trading.session import Watcher
from mnqcore.trading.status import protection

if TYPE_CHECKING:
    from pathlib import Path

    from mnqcore.trading.journal import Event, Journal
    from mnqcore.trading.session import Session

FOLDER = "reports"
SCHEMA = "mnq.day/1"
_MICRO = 1_000_000
_KINDS = ("start", "bar", "decision", "denied", "event", "odd-bar", "alert", "operator", "intent")
_MONEY = ("gross", "fees", "slippage", "largest_loss")
_COUNTS = ("bars", "trades", "orders", "restarts", "unknowns", "commands")
_TABLES = ("denied", "refused", "rejections", "errors", "odd_bars", "alerts")


@attrs.define
class Tally:
    """What is counted; money in micro-units. `largest_loss`: of a day, at a close, from where the day began."""

    bars: int = 0
    trades: int = 0
    gross: int = 0
    fees: int = 0
    slippage: int = 0
    orders: int = 0
    restarts: int = 0
    unknowns: int = 0
    commands: int = 0
    largest_loss: int = 0
    denied: collections.Counter[str] = attrs.field(factory=collections.Counter)
    refused: collections.Counter[str] = attrs.field(factory=collections.Counter)
    rejections: collections.Counter[str] = attrs.field(factory=collections.Counter)
    errors: collections.Counter[str] = attrs.field(factory=collections.Counter)
    odd_bars: collections.Counter[str] = attrs.field(factory=collections.Counter)
    alerts: collections.Counter[str] = attrs.field(factory=collections.Counter)

    def take(self, event: Event) -> None:
        """Count an event."""
        data = event.data
        if event.kind == "bar":
            self._bar(data)
        elif event.kind == "decision":
            if data["denied"]:
                from mnqcore.rules import Denial

                self.denied[Denial(data["denied"]).label] += 1
        elif event.kind == "denied":
            self.refused[data["code"]] += 1
        elif event.kind == "event":
            self._event(data)
        elif event.kind == "odd-bar":
            self.odd_bars[data["verdict"]] += 1
        elif event.kind == "alert":
            self.alerts[data["level"]] += 1
        elif event.kind == "start":
            self.restarts += bool(data["restart"])
        else:
            self.orders += event.kind == "intent"
            self.commands += event.kind == "operator"

    def _bar(self, data: dict[str, Any]) -> None:
        led = data["ledger"]
        self.bars += "final" not in data
        self.largest_loss = min(self.largest_loss, led["equity"] - led["day_equity"])
        for trade in data["booked"]:
            self.trades += 1
            self.gross += trade["gross"]
            self.fees += trade["commission"]
            self.slippage += trade["slippage"]

    def _event(self, data: dict[str, Any]) -> None:
        kind = data["type"]
        if kind == "Rejected":
            self.rejections[data["code"] or "no code"] += 1
        elif kind in ("NotSent", "NeverSent"):
            self.rejections[kind] += 1
        elif kind == "Unknown":
            self.unknowns += 1
        elif kind in ("Warned", "Disconnected"):
            self.errors[data.get("code") or kind] += 1

    def document(self) -> dict[str, Any]:
        """Return it as numbers and tables, money in dollars."""
        money = {name: getattr(self, name) / _MICRO for name in _MONEY}
        counts = {name: getattr(self, name) for name in _COUNTS}
        tables = {name: dict(getattr(self, name)) for name in _TABLES}
        return {**counts, "net": (self.gross - self.fees) / _MICRO, **money, **tables}


class Reports(Watcher):
    """Reports each trading day once it is over."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        last = journal.last("report")
        self._journal, self._folder = journal, folder / FOLDER
        self._through = 0 if last is None else int(last.data["through"])
        self._day: int | None = None

    def looked(self, session: Session) -> None:
        """Report the day before, at the first bar of another."""
        last = session.desk.last
        if last is None:
            return
        day = session.desk.clock.trading_day(last.start)
        if self._day is None:
            self._day = self._first_day(session)
        while self._day is not None and self._day != day:
            self.report(session)

    def report(self, session: Session) -> None:
        """Report the first day that has not been reported, as far as the journal knows it."""
        if self._day is None:
            return
        tally, day, following = Tally(), self._day, None
        for event in self._journal.events(_KINDS, self._through):
            if event.kind == "bar" and (on := session.desk.clock.trading_day(event.data["time"])) != day:
                following = on
                break
            tally.take(event)
            self._through = event.seq
        self._day = following
        found = {
            "day": day_text(day),
            **tally.document(),
            "positions": session.desk.memory.orders.position(),
            "protection": str(protection(session)),
        }
        session.desk.memory.note("report", **found, through=self._through)
        self._folder.mkdir(exist_ok=True)
        text = json.dumps({"schema": SCHEMA, **found}, indent=2, allow_nan=False)
        (self._folder / f"{found['day']}.json").write_text(f"{text}\n", encoding="utf-8", newline="\n")

    def _first_day(self, session: Session) -> int | None:
        """Return the trading day of the first bar that has not been reported."""
        bar = next(self._journal.events(("bar",), self._through), None)
        return None if bar is None else session.desk.clock.trading_day(bar.data["time"])


def whole(journal: Journal) -> dict[str, Any]:
    """Return what a whole session came to: its days, and what came after the last that was reported."""
    found, through = Tally().document(), 0
    for event in journal.events(("report",)):
        found, through = _sum(found, event.data), int(event.data["through"])
    tail = Tally()
    for event in journal.events(_KINDS, through):
        tail.take(event)
    return _sum(found, tail.document())


def day_text(day: int) -> str:
    """Return a trading day as a date."""
    import numpy as np

    return str(np.datetime64(day, "D"))


def _sum(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in one.items():
        more = other[name]
        if name == "largest_loss":
            found[name] = min(value, more)
        elif isinstance(value, dict):
            found[name] = dict(collections.Counter(value) + collections.Counter(more))
        else:
            found[name] = value + more
    return found
