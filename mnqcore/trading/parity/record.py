"""A journal read for the proof: its bars, each with what was decided at it and what was sent for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from mnqcore.trading.journal import Event, Journal

_FAILED = "no decision:"  # how the alert of a decision that failed begins


@attrs.define(kw_only=True, eq=False)
class Closed:
    """A bar of the journal.

    `at`: index of its event. `bar`: its data. `start`: how many starts there were before, less one. `anchor`: data of
    the newest anchor then. `decision`: data of what was decided at it, None where nothing was. `sent`: the events
    between the two: what the decision made the session do. `failed`: the agent failed, so that HOLD stood for it.
    """

    at: int
    bar: dict[str, Any]
    start: int
    anchor: dict[str, Any] | None
    decision: dict[str, Any] | None = None
    sent: list[Event] = attrs.field(factory=list)
    failed: bool = False

    @property
    def time(self) -> int:
        """Its start, UTC ns."""
        return int(self.bar["time"])

    @property
    def number(self) -> int:
        """Its number in the session."""
        return int(self.bar["number"])


@attrs.frozen(kw_only=True, eq=False)
class Record:
    """All of a journal. `strays`: decisions at a bar that the journal does not hold.

    `final`: index of the event that books where the bars ended, None where they have not.
    """

    events: list[Event]
    bars: list[Closed]
    strays: list[dict[str, Any]]
    final: int | None

    @property
    def over(self) -> bool:
        """Whether the bars have ended."""
        return self.final is not None

    @property
    def started(self) -> list[dict[str, Any]]:
        """Data of each start."""
        return [event.data for event in self.events if event.kind == "start"]


def read(journal: Journal) -> Record:
    """Read a journal, of a session that is over or goes on."""
    events = list(journal.events())
    bars: list[Closed] = []
    strays: list[dict[str, Any]] = []
    starts, anchor, failed, final = -1, None, False, None
    for at, event in enumerate(events):
        data = event.data
        if event.kind == "start":
            starts += 1
        elif event.kind == "anchor":
            anchor = data
        elif event.kind == "alert":
            failed = failed or data["message"].startswith(_FAILED)
        elif event.kind == "bar" and "final" in data:
            final = at
        elif event.kind == "bar":
            bars.append(Closed(at=at, bar=data, start=max(starts, 0), anchor=anchor, failed=failed))
            failed = False
        elif event.kind == "decision":
            if bars and bars[-1].time == data["bar"] and bars[-1].decision is None:
                bars[-1].decision, bars[-1].sent = data, events[bars[-1].at + 1 : at]
            else:
                strays.append(data)
    return Record(events=events, bars=bars, strays=strays, final=final)
