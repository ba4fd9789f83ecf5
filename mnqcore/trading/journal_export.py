"""A journal as a file that other programs read: JSON lines, CSV or Parquet."""

from __future__ import annotations

import csv
import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnqcore.trading.journal import Journal
    from mnqcore.trading.journal_rows import Event

COLUMNS = ("seq", "time", "mono", "kind", "data")
"""Of every export; `data` is JSON text in CSV and Parquet."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH = 10_000


def iso(time: int) -> str:
    """Return UTC nanoseconds as ISO 8601, none of them lost."""
    seconds, rest = divmod(time, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}+00:00"


def document(event: Event) -> dict[str, Any]:
    """Return an event as JSON shows it, its time in ISO 8601."""
    return {**attrs.asdict(event, recurse=False), "time": iso(event.time)}


def export(journal: Journal, path: Path) -> int:
    """Write all events to a new `.jsonl`, `.csv` or `.parquet` file; return how many.

    A `.jsonl` begins with a line for the header.

    Raises:
        UsageError: there is such a file, or it is of another kind.
        MnqError: it cannot be written.
    """
    write = _WRITERS.get(path.suffix.lower())
    if not write:
        raise UsageError(f"cannot export to {path.name}", next=f"name a file that ends in {', '.join(_WRITERS)}")
    if path.exists():
        raise UsageError(f"{path} is there already", next="name another, or delete it")
    partial = path.with_name(f".partial-{path.name}")
    try:
        count = write(journal, partial)
        partial.rename(path)
    except OSError as error:
        raise MnqError("the journal cannot be exported", where=str(path), found=error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _jsonl(journal: Journal, path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{json.dumps(attrs.asdict(journal.header))}\n")
        for event in journal.events():
            count += 1
            file.write(f"{json.dumps(document(event), allow_nan=False)}\n")
    return count


def _csv(journal: Journal, path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for event in journal.events():
            count += 1
            table.writerow([event.seq, iso(event.time), event.mono, event.kind, json.dumps(event.data)])
    return count


def _parquet(journal: Journal, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    times = pa.timestamp("ns", tz="UTC")
    fields = list(zip(COLUMNS, (pa.int64(), times, pa.int64(), pa.string(), pa.string()), strict=True))
    schema = pa.schema(fields, metadata={"mnq.journal": json.dumps(attrs.asdict(journal.header))})
    count = 0
    with pq.ParquetWriter(path, schema) as file:
        for events in _batches(journal.events()):
            rows = [{**attrs.asdict(event, recurse=False), "data": json.dumps(event.data)} for event in events]
            file.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while batch := list(itertools.islice(events, _BATCH)):
        yield batch


_WRITERS: dict[str, Callable[[Journal, Path], int]] = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
