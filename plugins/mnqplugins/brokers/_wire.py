"""What client and venue say to each other: one JSON object a line, the port's values by their field names.

The client opens with {"token", "account"} and then asks {"id", "do", ...}; each question gets one answer {"id", "now",
"ok" or "error"}. The venue tells events {"event": class, ...fields} and the time {"clock"} of its own accord. An item
of the stream is an answer with {"start", "time", "forming", "rows"}, a row a contract in the order of the columns.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from mnqcore import port

if TYPE_CHECKING:
    from cattrs import Converter

    from mnqplugins.brokers._script import Item

_Kind = TypeVar("_Kind")
QUESTION = 1 << 20
"""Longest line that a venue reads, bytes."""
ANSWER = 1 << 26
"""Longest line that a client reads, bytes."""
PAGE = 2_000
"""Rows of history in one answer."""
PORT_FILE = "port.json"
"""Where a venue can be found: port, token, process, and a hash of the settings it was started with."""

EVENTS: dict[str, type] = {each.__name__: each for each in get_args(port.Event)}
"""class name -> class of the port's events."""

_line = json.JSONEncoder(separators=(",", ":")).encode


class Garbage(Exception):
    """A line that nobody who knows the protocol would send."""


def line(message: dict[str, Any]) -> bytes:
    """Return a message as it is sent."""
    return _line(message).encode() + b"\n"


def message(text: bytes) -> dict[str, Any]:
    """Read a line; Garbage where it is no object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Garbage("no JSON") from error
    if not isinstance(found, dict):
        raise Garbage("no object")
    return found


def plain(value: Any) -> Any:
    """Return a value of the port, or a list of them, as JSON holds it."""
    return _converter().unstructure(value)


def valued(said: Any, kind: type[_Kind]) -> _Kind:
    """Return what `plain` made, as a value of its kind again; Garbage where it is none."""
    try:
        return _converter().structure(said, kind)
    except Exception as error:  # of many kinds: whatever a field was made from
        raise Garbage(f"no {kind}") from error


def told(event: port.Event) -> bytes:
    """Return an event as it is sent."""
    return line({"event": type(event).__name__, **plain(event)})


def item(delivered: Item, now: int) -> bytes:
    """Return an item of the stream as the fields of an answer."""
    said = {"start": delivered.start, "time": now, "forming": delivered.forming, "rows": delivered.rows}
    return _line(said).encode()[1:-1]


def heard(said: dict[str, Any]) -> port.Event:
    """Read an event."""
    kind = EVENTS.get(said.pop("event"))
    if kind is None:
        raise Garbage("no event")
    found: port.Event = valued(said, kind)
    return found


@functools.cache
def _converter() -> Converter:
    import attrs
    from cattrs import Converter

    for kind in (*EVENTS.values(), port.Order, port.BracketOrder, port.OrderState, port.Execution):
        attrs.resolve_types(kind, include_extras=False)
    return Converter()
