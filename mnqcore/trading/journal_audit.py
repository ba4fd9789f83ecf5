"""Whether a journal is whole, and tells a story that can be true: every order was meant before it was sent, ..."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from mnqcore.errors import DataError
from mnqcore.trading import journal_file
from mnqcore.trading.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mnqcore.trading.journal_rows import Event

_SHOWN = 5  # problems kept of each check
_SECOND = 1_000_000_000


@attrs.frozen
class Check:
    """One thing that was looked at. `found`: what is wrong, the first few. `passed` is None where it could not be."""

    name: str
    passed: bool | None
    found: tuple[str, ...] = ()


class _Rule(Protocol):
    """What must hold of all events; `take` yields what an event breaks."""

    name: str

    def take(self, event: Event) -> Iterator[str]: ...


def audit(path: Path) -> list[Check]:
    """Check a journal's file, tables, rows, clocks, orders and positions."""
    checks, events = _file(path)
    if events is None:
        return [*checks, *(Check(rule.name, None) for rule in _rules(""))]
    with events:
        rules = _rules(events.header.session)
        found: dict[str, list[str]] = {rule.name: [] for rule in rules}
        torn = ""
        try:
            for event in events.events():
                for rule in rules:
                    found[rule.name].extend(f"event {event.seq}: {text}" for text in _taken(rule, event))
        except DataError as error:
            torn = error.facts.get("found", error.what)
    if torn:
        found[_Numbers.name].append(torn)
    broken = {name: _first(texts) for name, texts in found.items()}
    return [
        *checks,
        *(Check(name, False if texts else None if torn else True, texts) for name, texts in broken.items()),
    ]


def _file(path: Path) -> tuple[list[Check], Journal | None]:
    """Check what SQLite can tell; the journal is None where its events cannot be read."""
    checks, at = [Check("file", None), Check("tables", None)], 0
    try:
        with contextlib.closing(journal_file.connect(path, writes=False)) as db, journal_file.reading(path):
            for at, look in enumerate((journal_file.broken_pages, journal_file.wrong_tables)):
                wrong = _first(look(db))
                checks[at] = Check(checks[at].name, not wrong, wrong)
        return checks, Journal.read(path)
    except DataError as error:
        text = f"{error.what}: {error.facts['found']}" if "found" in error.facts else error.what
        checks[at] = Check(checks[at].name, False, (*checks[at].found, text))
        return checks, None


def _taken(rule: _Rule, event: Event) -> list[str]:
    try:
        return list(rule.take(event))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"its data are not those of {event.kind!r}: {type(error).__name__} {error}"]


def _first(texts: list[str]) -> tuple[str, ...]:
    more = len(texts) - _SHOWN
    return (*texts[:_SHOWN], f"and {more} more") if more > 0 else tuple(texts)


def _rules(session: str) -> tuple[_Rule, ...]:
    return _Numbers(), _Clocks(), _Intents(f"{session}-"), _Heard(f"{session}-"), _Positions(f"{session}-")


@attrs.define
class _Numbers:
    """Events are numbered from 1 without a gap; reading them has checked that each is as it was written."""

    name = "events"
    last: int = 0

    def take(self, event: Event) -> Iterator[str]:
        if event.seq != self.last + 1:
            yield f"follows event {self.last}"
        self.last = event.seq


@attrs.define
class _Clocks:
    """Neither clock runs backwards while one process writes.

    The session's clock is the broker's from the first reconciliation on, so only what follows that is compared; a
    second is what setting a machine's clock may take back.
    """

    name = "clocks"
    mono: int | None = None
    time: int | None = None
    settled: bool = False

    def take(self, event: Event) -> Iterator[str]:
        if event.kind == "start":
            self.mono, self.time, self.settled = None, None, False
        if self.mono is not None and event.mono < self.mono:
            yield f"the machine's clock runs back by {self.mono - event.mono} ns"
        self.mono = event.mono
        self.settled = self.settled or event.kind in ("reconciled", "bar")
        if self.settled:
            if self.time is not None and event.time < self.time - _SECOND:
                yield f"the session's clock runs back by {(self.time - event.time) / _SECOND:.3f} s"
            self.time = event.time


@attrs.define
class _Intents:
    """Every order was meant, once, before it was sent or cancelled."""

    name = "intents"
    ours: str
    meant: set[str] = attrs.field(factory=set)

    def take(self, event: Event) -> Iterator[str]:
        if event.kind == "intent":
            ref = event.data["ref"]
            if ref in self.meant:
                yield f"{ref} was meant before"
            self.meant.add(ref)
        elif event.kind == "sent":
            yield from (f"{ref} was sent without an intent" for ref in event.data["refs"] if ref not in self.meant)
        elif event.kind == "cancel":
            ref = event.data["ref"]
            if ref.startswith(self.ours) and ref not in self.meant:
                yield f"{ref} was cancelled without an intent"


@attrs.define
class _Heard:
    """Nothing was heard of an order of ours that had not been meant."""

    name = "answers"
    ours: str
    meant: set[str] = attrs.field(factory=set)

    def take(self, event: Event) -> Iterator[str]:
        if event.kind == "intent":
            self.meant.add(event.data["ref"])
        elif event.kind == "event":
            refs = event.data.get("refs") or [_execution(event.data).get("ref") or event.data.get("ref") or ""]
            for ref in refs:
                if ref.startswith(self.ours) and ref not in self.meant:
                    yield f"{event.data['type']} of {ref}, which was never meant"


@attrs.define
class _Positions:
    """Where reconciling found no difference, the positions are what was filled, and what a person left to others."""

    name = "positions"
    ours: str
    fills: dict[str, tuple[int, str, int]] = attrs.field(factory=dict)
    foreign: Counter[str] = attrs.field(factory=Counter)

    def take(self, event: Event) -> Iterator[str]:
        if event.kind == "event":
            self._fill(_execution(event.data))
        elif event.kind == "operator" and event.data.get("foreign") is not None:
            self.foreign = Counter(event.data["foreign"])
        elif event.kind == "reconciled" and not event.data.get("difference"):
            held = Counter({one["contract"]: one["contracts"] for one in event.data["positions"]})
            known = self._filled()
            known.update(self.foreign)
            for contract in sorted({*held, *known}):
                if held[contract] != known[contract]:
                    yield f"{held[contract]:+d} {contract}, but fills make {known[contract]:+d}"

    def _fill(self, execution: Mapping[str, Any]) -> None:
        """Keep the last revision of an execution of ours."""
        if not execution or not execution["ref"].startswith(self.ours):
            return
        name, revision = execution["id"], execution["revision"]
        if name not in self.fills or revision > self.fills[name][0]:
            self.fills[name] = revision, execution["contract"], execution["side"] * execution["contracts"]

    def _filled(self) -> Counter[str]:
        filled: Counter[str] = Counter()
        for _, contract, contracts in self.fills.values():
            filled[contract] += contracts
        return filled


def _execution(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the execution that an event tells of, if any; `Charged` only names it."""
    found = data.get("execution")
    return found if isinstance(found, dict) else {}
