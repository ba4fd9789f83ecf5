"""What a journal knows of orders and positions, read without the strategy that wrote it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.port import Status
from mnqcore.errors import DataError, MnqError
from mnqcore.trading.journal import Journal
from mnqcore.trading.orders import Orders
from mnqcore.trading.recall import event_of, order_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mnqcore.trading.journal import Event

_KINDS = ("intent", "cancel", "event", "operator", "state")


@attrs.define
class Hindsight:
    """What a journal tells.

    `foreign`: contract -> contracts that a person told us to leave alone. `number`: of the last ref. `state`: the last
    one noted. `close`: of the newest bar, ticks; `bar`: its start, UTC ns; 0 where there is none.
    """

    orders: Orders = attrs.field(factory=Orders)
    foreign: dict[str, int] = attrs.field(factory=dict)
    number: int = 0
    state: str = ""
    close: int = 0
    bar: int = 0


def read(journal: Journal) -> Hindsight:
    """Return what a journal tells.

    Raises:
        DataError: it is damaged.
    """
    found = Hindsight()
    for event in journal.events(_KINDS):
        _fold(event, found)
    last = journal.last("bar")
    if last is not None:
        found.close, found.bar = int(last.data.get("close", 0)), int(last.data["time"])
    return found


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Journal | None, Hindsight | None, str]]:
    """Open the journal of a session that no process runs; yields it and what it tells, or why it cannot be read."""
    journal, known, trouble = None, None, ""
    try:
        journal = Journal.open(path)
        known = read(journal)
    except (MnqError, OSError, ValueError, KeyError, TypeError) as error:
        trouble = _reason(error)
        if journal is not None:
            journal.close()
            journal = None
    try:
        yield journal, known, trouble
    finally:
        if journal is not None:
            journal.close()


def _reason(error: BaseException) -> str:
    if isinstance(error, DataError):
        return f"{error.what}: {error.facts['found']}" if "found" in error.facts else error.what
    return f"{type(error).__name__}: {error}"


def _fold(event: Event, found: Hindsight) -> None:
    data, orders = event.data, found.orders
    if event.kind == "intent":
        order = order_of(data)
        orders.intend(order, bar=data["bar"], reason=data["reason"])
        orders.mark_sent([order.ref])
        found.number = max(found.number, int(order.ref.partition("-")[2].partition(".")[0]))
    elif event.kind == "cancel":
        orders.by_ref[data["ref"]].cancelling = True
    elif event.kind == "event":
        _hear(data, orders)
    elif event.kind == "state":
        found.state = data["state"]
    elif data.get("foreign") is not None:
        found.foreign = {str(contract): int(contracts) for contract, contracts in data["foreign"].items()}


def _hear(data: dict[str, Any], orders: Orders) -> None:
    if data["type"] in ("NeverSent", "NotSent"):
        for ref in data.get("refs", [data.get("ref")]):
            orders.never_sent(ref)
    elif data["type"] == "Settled":
        tracked = orders.by_ref[data["ref"]]
        tracked.acked = True
        tracked.status, tracked.contracts = Status(data["status"]), data["contracts"]
    else:
        orders.apply(event_of(data))
