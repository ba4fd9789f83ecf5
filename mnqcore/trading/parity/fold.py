"""A session's memory as it was at any event of its journal, made as a restart makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.trading.memory import Memory
from mnqcore.trading.orders import Orders
from mnqcore.trading.recall import Recalled, fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.trading.books import Books
    from mnqcore.trading.journal import Event, Journal


@attrs.define(kw_only=True)
class Folded:
    """Goes through the events of a journal; what they make of a session lies in `memory`.

    `doubted`: broker and journal differed when they were compared last.
    """

    events: Sequence[Event]
    memory: Memory
    doubted: bool = False
    _at: int = attrs.field(default=0, init=False)
    _known: Recalled = attrs.field(factory=Recalled, init=False)

    @classmethod
    def of(cls, journal: Journal, events: Sequence[Event], books: Books) -> Folded:
        """Begin before the first event, with books that nothing was booked in."""
        memory = Memory(journal=journal, orders=Orders(), books=books, session=journal.header.session)
        return cls(events=events, memory=memory)

    def until(self, at: int) -> None:
        """Take in the events before the one of an index."""
        for event in self.events[self._at : at]:
            if all(ref in self.memory.orders.by_ref for ref in _refs(event)):
                fold(event, self.memory, self._known)
            if event.kind == "reconciled":
                self.doubted = bool(event.data["difference"])
        self._at = max(self._at, at)


def _refs(event: Event) -> list[str]:
    """Return the orders that an event needs to be known: a journal may lack their intents."""
    data = event.data
    if event.kind == "cancel":
        return [data["ref"]]
    if event.kind == "sent":
        return list(data["refs"])
    if event.kind == "event" and data["type"] in ("NeverSent", "NotSent", "Settled"):
        return list(data.get("refs", [data.get("ref")]))
    return []
