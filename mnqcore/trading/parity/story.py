"""What became of each order, as the journal tells it: when it was sent, filled, and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mnqcore.api.port import Execution
from mnqcore.trading.recall import order_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.api.port import Order
    from mnqcore.trading.journal import Event

_ENDS = ("Cancelled", "Rejected", "Parked", "Unknown")
_SILENT = ("NeverSent", "NotSent", "Unknown")
"""What is said of an order that may never have come."""


@attrs.define(kw_only=True, eq=False)
class Story:
    """An order's. `sent`, `over`: UTC ns; `over` is None while something may still come of it.

    `bar`: start of the bar it was decided at. `fills`: as they were first told, in order of time; corrections change
    nothing of them. `heard`: the broker has said that it has the order. `parent`: of the entry that it waits for.
    `mates`: those of its group.
    """

    order: Order
    sent: int
    bar: int
    over: int | None = None
    fills: list[Execution] = attrs.field(factory=list)
    heard: bool = False
    parent: Story | None = None
    mates: list[Story] = attrs.field(factory=list)

    @property
    def whole(self) -> bool:
        """Whether all of it was filled."""
        return sum(one.contracts for one in self.fills) >= self.order.contracts

    @property
    def ended(self) -> int | None:
        """When nothing more could come of it: also since one of its group was filled wholly."""
        ends = [mate.fills[-1].time for mate in self.mates if mate.fills and mate.whole]
        ends += [] if self.over is None else [self.over]
        return min(ends, default=None)


def tell(events: Sequence[Event]) -> list[Story]:
    """Return the stories of a journal's orders, in the order in which they were intended."""
    stories: dict[str, Story] = {}
    for event in events:
        data = event.data
        if event.kind == "intent":
            order = order_of(data)
            stories[order.ref] = Story(order=order, sent=event.time, bar=data["bar"])
        elif event.kind == "event":
            _event(event, stories)
    groups: dict[str, list[Story]] = {}
    for story in stories.values():
        story.fills.sort(key=lambda one: one.time)
        story.parent = stories.get(story.order.parent or "")
        if story.order.group is not None:
            groups.setdefault(story.order.group, []).append(story)
    for group in groups.values():
        for story in group:
            story.mates = [mate for mate in group if mate is not story]
    return list(stories.values())


def _event(event: Event, stories: dict[str, Story]) -> None:
    data, kind = event.data, event.data["type"]
    if kind == "Filled":
        execution = Execution(**data["execution"])
        story = stories.get(execution.ref)
        if story is not None:
            story.heard = True
        if story is not None and not any(one.id == execution.id for one in story.fills):
            story.fills.append(execution)
        return
    refs = data.get("refs") or [data.get("ref")]
    for story in (stories[ref] for ref in refs if ref in stories):
        story.heard = story.heard or kind not in _SILENT
        if kind in _ENDS:
            story.over = _sooner(story.over, data["time"])
        elif kind in ("NeverSent", "NotSent"):
            story.over = story.sent
        elif kind == "Settled" and data["status"] in ("cancelled", "rejected", "unknown"):
            story.over = _sooner(story.over, event.time)
        elif kind == "Working" and story.over is not None and not story.fills:
            story.over = None  # it was parked, and stands in the market again


def _sooner(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)
