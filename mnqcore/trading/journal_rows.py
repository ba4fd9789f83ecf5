"""What a journal holds, and how it is written down: its header, and the events with their check sums."""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.trading import journal_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA = journal_file.SCHEMA
"""The format of a journal."""
KINDS = (
    "start", "state", "anchor", "bar", "odd-bar", "decision", "intent", "sent", "cancel", "event", "denied",
    "operator", "alert", "reconciled", "report", "end",
)  # fmt: skip
"""What a session writes."""
Row = tuple[int, int, int, str, str, int]
"""An event in the file: seq, time, mono, kind, data, crc."""


@attrs.frozen
class Entry:
    """What is to be written: `data` becomes JSON, in which NaN is an error (see `finite`)."""

    kind: str
    data: Mapping[str, Any]


@attrs.frozen
class Event:
    """What was written. `time`: UTC nanoseconds of the session's clock. `mono`: nanoseconds since the machine began."""

    seq: int
    time: int
    mono: int
    kind: str
    data: dict[str, Any]


@attrs.frozen(kw_only=True)
class Header:
    """Whose journal it is. `session`: eight hex digits that begin its refs. `created`: UTC nanoseconds.

    `instrument`: the facts of the instrument (`tick_size`, ...). `versions`: name -> version.
    """

    account: str
    mode: str
    strategy: str
    digest: str
    session: str = attrs.field(validator=attrs.validators.matches_re(r"[0-9a-f]{8}"))
    instrument: Mapping[str, Any]
    versions: Mapping[str, str]
    created: int
    schema: str = SCHEMA


def finite(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON can hold them: None for each that is not finite."""
    return [float(value) if math.isfinite(value) else None for value in values]


def to_row(seq: int, now: int, mono: int, entry: Entry) -> Row:
    """Return what is written of an entry."""
    data = json.dumps(entry.data, allow_nan=False, separators=(",", ":"), default=_plain)
    return seq, now, mono, entry.kind, data, journal_file.checksum(seq, now, mono, entry.kind, data)


def from_row(row: Row, path: Path) -> Event:
    """Return the event of a row.

    Raises:
        DataError: it is not as it was written.
    """
    *parts, crc = row
    if journal_file.checksum(*parts) != crc:
        raise journal_file.damaged(path, f"event {row[0]} is not as it was written")
    return Event(*row[:4], json.loads(row[4]))


def _plain(value: Any) -> Any:
    """Return what JSON knows of a value: an enum's value, a number of numpy as Python's."""
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    raise TypeError(f"a journal holds no {type(value).__name__}")


def texts(header: Header) -> dict[str, str]:
    """Return what is written of a header."""
    fields = {field.name: getattr(header, field.name) for field in attrs.fields(Header)}
    return {
        name: value if isinstance(value, str) else json.dumps(value, allow_nan=False) for name, value in fields.items()
    }


def header_of(written: Mapping[str, str], path: Path) -> Header:
    """Return a header from what was written of it.

    Raises:
        DataError: it is not whole.
    """
    try:
        read = {name: json.loads(written[name]) for name in ("instrument", "versions", "created")}
        return Header(**{**written, **read})
    except (KeyError, TypeError, ValueError) as error:
        raise journal_file.damaged(path, f"its header: {error}") from error
