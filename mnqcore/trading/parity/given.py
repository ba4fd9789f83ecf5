"""What a proof takes as it was recorded: the world's doing, people's, and what was refused."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from mnqcore.api.port import Role
from mnqcore.api.values import ExitReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.tape import Market
    from mnqcore.trading.journal import Event
    from mnqcore.trading.parity.record import Record
    from mnqcore.trading.parity.story import Story

_EVENTS = {"Rejected": "orders rejected", "Disconnected": "times disconnected", "Unknown": "orders of unknown fate"}
"""Type of a broker's event -> what it is counted as."""


def given(record: Record, stories: Sequence[Story], market: Market) -> dict[str, int]:
    """Count all that is no difference, name -> how often; what did not happen is left out."""
    found: collections.Counter[str] = collections.Counter()
    inside = {id(event) for closed in record.bars for event in closed.sent}
    for event in record.events:
        _event(event, found, decided=id(event) in inside)
    found["restarts"] = max(len(record.started) - 1, 0)
    found["bars too old to decide at"] = sum(not closed.bar["decides"] for closed in record.bars)
    found["decisions that failed"] = sum(closed.failed for closed in record.bars)
    found["bars never delivered"] = _missing(record, market)
    found["orders filled in parts"] = sum(len(story.fills) > 1 or _cut(story) for story in stories)
    found["orders that the broker never spoke of"] = sum(not one.heard and one.parent is None for one in stories)
    found["orders that the broker cancelled"] = _unasked(record, stories)
    return {name: count for name, count in found.items() if count}


def _event(event: Event, found: collections.Counter[str], *, decided: bool) -> None:
    data = event.data
    if event.kind == "denied":
        found[f"entries refused by {data['rule']} {data['code']}"] += 1
    elif event.kind == "operator":
        found[f"commands of a person: {data['command']}"] += 1
    elif event.kind == "odd-bar":
        found[f"bars told apart: {data['verdict']}"] += 1
    elif event.kind == "state" and data["state"] == "HALTED":
        found["halts"] += 1
    elif event.kind == "intent" and not decided:
        if data["role"] == Role.EXIT.value:
            found[f"exits beside the decisions: {ExitReason(data['reason']).label}"] += 1
        else:
            found["stops placed anew"] += 1
    elif event.kind == "event":
        _heard(data["type"], event, found)


def _heard(kind: str, event: Event, found: collections.Counter[str]) -> None:
    data = event.data
    if kind in _EVENTS:
        found[_EVENTS[kind]] += 1
    elif kind in ("NeverSent", "NotSent"):
        found["orders never sent"] += len(data.get("refs") or [data["ref"]])
    elif kind == "Filled":
        execution = data["execution"]
        if execution["forced"]:
            found["forced liquidations"] += 1
        elif not execution["ref"]:
            found["fills of others"] += 1
        elif execution["revision"]:
            found["fills corrected"] += 1


def _missing(record: Record, market: Market) -> int:
    """Count the source's bars between the first and the last of the journal that are not in it."""
    if not record.bars:
        return 0
    told = {closed.time for closed in record.bars}
    first, last = min(told), max(told)
    return sum(first <= start <= last and start not in told for start in market.orders["time"].tolist())


def _cut(story: Story) -> bool:
    return bool(story.fills) and not story.whole


def _unasked(record: Record, stories: Sequence[Story]) -> int:
    """Count cancellations that neither we asked for nor another order of the group brought about."""
    asked = {event.data["ref"] for event in record.events if event.kind == "cancel"}
    cancelled = {
        event.data["ref"] for event in record.events if event.kind == "event" and event.data["type"] == "Cancelled"
    }
    return sum(
        story.order.ref in cancelled - asked
        and not any(mate.fills for mate in story.mates)
        and (story.parent is None or bool(story.parent.fills))
        for story in stories
    )
