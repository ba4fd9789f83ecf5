"""Looks at test windows: one line of `looks.jsonl` in the runs directory for each evaluation on bars kept for a test.

Whoever tries again and again on the same bars finds something that did well there. So each try is noted, and figures
are held against how many there were.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = "looks.jsonl"
"""In the runs directory."""
RULE = "rule"
"""The `model` of a look at a strategy that is not trained."""
_LOG = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Look:
    """One evaluation on a test window.

    `strategy` is its name and `digest` its sha256, `model` that of the model, or `RULE`. `first` and `last` are the
    window's first and last bar starts, UTC, ISO 8601. `sharpe` is the Sharpe ratio of its days, not annualised, None
    where it has none. `run` is what `mnq runs list` calls it.
    """

    strategy: str
    digest: str
    model: str
    data_sha256: str
    first: str
    last: str
    sharpe: float | None
    days: int
    run: str


@attrs.frozen(kw_only=True)
class Tally:
    """How often a stretch of bars was looked at.

    `count`: looks. `strategies`: different names among them. `trials`: different strategies and models; repeating a
    run is no new trial. `spread`: standard deviation (n - 1) of the trials' daily Sharpe ratios, None under two.
    `broken`: lines of the file that could not be read.
    """

    count: int
    strategies: int
    trials: int
    spread: float | None
    broken: int = 0


def note(base: str | Path, look: Look) -> None:
    """Add a look to the runs directory; processes may do so at the same time.

    Raises:
        MnqError: it cannot be written.
    """
    document = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **attrs.asdict(look)}
    line = json.dumps(document, allow_nan=False).encode() + b"\n"
    path = Path(base) / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _is_torn(path):  # by a process that was killed: what follows must not become part of its line
            line = b"\n" + line
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            os.write(descriptor, line)  # one write to the end of a file is never mixed with another
        finally:
            os.close(descriptor)
    except OSError as error:
        raise MnqError("a look at test bars cannot be noted", where=str(path), found=str(error)) from error


def tally(base: str | Path, data_sha256: str, first: str, last: str) -> Tally:
    """Return how often bars were looked at: the looks at the same data whose window overlaps this one.

    Note a run's own look before: it counts. A line that is broken is left out, counted, and warned of.

    Args:
        base: the runs directory.
        data_sha256: of the bars.
        first: first bar start of the window, UTC, ISO 8601.
        last: last bar start.
    """
    path, found, broken = Path(base) / FILE, [], 0
    start, end = _moment(first), _moment(last)
    for look in _looks(path):
        if look is None:
            broken += 1
        elif look.data_sha256 == data_sha256 and _moment(look.first) <= end and _moment(look.last) >= start:
            found.append(look)
    if broken:
        _LOG.warning("%s: %d %s cannot be read: looks may be missing", path, broken, "line" if broken == 1 else "lines")
    trials = {(look.digest, look.model): look.sharpe for look in found}
    ratios = [ratio for ratio in trials.values() if ratio is not None]
    return Tally(
        count=len(found),
        strategies=len({look.strategy for look in found}),
        trials=len(trials),
        spread=statistics.stdev(ratios) if len(ratios) > 1 else None,
        broken=broken,
    )


def _looks(path: Path) -> Iterator[Look | None]:
    """Yield every look of a file, None for a line that is none."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise MnqError("the looks at test bars cannot be read", where=str(path), found=str(error)) from error
    for line in lines:
        if line.strip():
            yield _look(line)


def _look(line: bytes) -> Look | None:
    try:
        document = json.loads(line)
        fields = {field.name: document[field.name] for field in attrs.fields(Look)}
        _moment(fields["first"])
        _moment(fields["last"])
        return Look(**fields) if _is_sound(fields) else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _is_sound(fields: dict[str, Any]) -> bool:
    texts = fields.keys() - {"sharpe", "days"}
    ratio = fields["sharpe"]
    return (
        all(isinstance(fields[name], str) for name in texts)
        and type(fields["days"]) is int
        and (ratio is None or (type(ratio) is float and abs(ratio) < float("inf")))
    )


def _moment(text: str) -> datetime:
    """Return a moment; ValueError or TypeError where the text is none in UTC or another zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment


def _is_torn(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False
