"""A session's memory made again from its journal: the way every session starts, the first one included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api import port
from mnqcore.trading.memory import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.trading.journal import Event, Journal
    from mnqcore.trading.memory import Memory


@attrs.define(kw_only=True)
class Recalled:
    """What the journal tells beside orders and books.

    `bar`: data of the newest bar, None before the first; `rows`: all round trips. `starts`: how often the session was
    started. `foreign`: contract -> contracts at the broker that a person told us to leave alone. `anchor`: data of the
    newest anchor. `model`: sha256 of the one that chooses, empty for a rule. `ended`: the session is over.
    """

    bar: dict[str, Any] | None = None
    rows: list[dict[str, int]] = attrs.field(factory=list)
    starts: int = 0
    foreign: dict[str, int] = attrs.field(factory=dict)
    anchor: dict[str, Any] | None = None
    model: str = ""
    ended: bool = False


def recall(memory: Memory, journal: Journal, trading_day: Callable[[int], int]) -> Recalled:
    """Fold a journal into a memory that holds nothing yet.

    Args:
        memory: takes orders, books, state and the number of the last ref.
        journal: of the session.
        trading_day: the trading day of a time, UTC ns.
    """
    found = Recalled()
    for event in journal.events(_FOLDS):
        fold(event, memory, found)
        if event.kind == "intent" and event.data["role"] == port.Role.ENTRY.value:
            memory.entries_sent.append((event.time, trading_day(event.time)))
    if memory.state is not State.HALTED:
        memory.state = State.DISCONNECTED
    unfinished = memory.orders.position() or any(memory.orders.alive(port.Role.ENTRY))
    memory.reducing = memory.reducing and bool(unfinished)  # what was begun is brought to its end
    return found


def fold(event: Event, memory: Memory, found: Recalled) -> None:
    """Take one event of a journal into memory; those before it must have been taken in."""
    if event.kind in _FOLDS:
        _FOLDS[event.kind](event, memory, found)


def _bar(event: Event, memory: Memory, found: Recalled) -> None:
    data = event.data
    if "end" in data:
        memory.books.pending = [fill for fill in memory.books.pending if fill.time >= data["end"]]
        found.bar = data
    elif found.bar is not None:  # what was booked where the bars ended
        found.bar = found.bar | {"ledger": data["ledger"]}
    found.rows += data["booked"]
    memory.books.restore(data["ledger"], found.rows)  # what is corrected later comes on top


def _decision(event: Event, memory: Memory, found: Recalled) -> None:
    memory.books.denied[0, event.data["denied"]] += 1


def _intent(event: Event, memory: Memory, found: Recalled) -> None:
    order = order_of(event.data)
    memory.orders.intend(order, bar=event.data["bar"], reason=event.data["reason"], risk=event.data["risk"])
    memory.orders.mark_sent([order.ref])
    memory.number = max(memory.number, int(order.ref.partition("-")[2].partition(".")[0]))


def _sent(event: Event, memory: Memory, found: Recalled) -> None:
    for ref in event.data["refs"]:
        memory.orders.by_ref[ref].left = True


def _cancel(event: Event, memory: Memory, found: Recalled) -> None:
    memory.orders.by_ref[event.data["ref"]].cancelling = True


def _event(event: Event, memory: Memory, found: Recalled) -> None:
    _heard(event.data, memory)


def _state(event: Event, memory: Memory, found: Recalled) -> None:
    memory.state, memory.why = State(event.data["state"]), event.data["why"]
    memory.reducing = memory.state is State.REDUCING or (memory.reducing and memory.state is not State.ACTIVE)


def _start(event: Event, memory: Memory, found: Recalled) -> None:
    found.starts += 1
    found.model = event.data.get("model") or ""


def _anchor(event: Event, memory: Memory, found: Recalled) -> None:
    found.anchor = event.data


def _operator(event: Event, memory: Memory, found: Recalled) -> None:
    if event.data.get("foreign") is not None:
        found.foreign = {contract: int(contracts) for contract, contracts in event.data["foreign"].items()}


def _end(event: Event, memory: Memory, found: Recalled) -> None:
    found.ended = True


_FOLDS: dict[str, Callable[[Event, Memory, Recalled], None]] = {
    "bar": _bar,
    "decision": _decision,
    "intent": _intent,
    "sent": _sent,
    "cancel": _cancel,
    "event": _event,
    "state": _state,
    "start": _start,
    "anchor": _anchor,
    "operator": _operator,
    "end": _end,
}
"""Kind of event -> what it does to a memory."""


def _heard(data: dict[str, Any], memory: Memory) -> None:
    """Take in again what the broker said, or what was found out of an order."""
    kind = data["type"]
    if kind in ("NeverSent", "NotSent"):
        for ref in data.get("refs", [data.get("ref")]):
            memory.orders.never_sent(ref)
    elif kind == "Settled":
        tracked = memory.orders.by_ref[data["ref"]]
        tracked.acked, tracked.given_up = True, False
        tracked.status, tracked.contracts = port.Status(data["status"]), data["contracts"]
    else:
        heard = event_of(data)
        change = memory.orders.apply(heard)
        if isinstance(heard, port.Charged):
            memory.charged(heard)
        elif change is not None and change.corrects:
            memory.restated(change)
        elif change is not None and change.contracts:
            memory.owe(change)


def order_of(data: dict[str, Any]) -> port.Order:
    """Return the order of an `intent`."""
    names = [field.name for field in attrs.fields(port.Order)]
    return port.Order(**{name: data[name] for name in names} | {"role": port.Role(data["role"])})


def event_of(data: dict[str, Any]) -> port.Event:
    """Return the broker's event of an `event`."""
    fields = {name: value for name, value in data.items() if name != "type"}
    if data["type"] == "Filled":
        fields["execution"] = port.Execution(**fields["execution"])
    made: port.Event = getattr(port, data["type"])(**fields)
    return made
