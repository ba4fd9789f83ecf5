"""The bar store: parquet files in the agreed shape, each with a manifest that says where it came from.

An import reads a file as it is, decides what its times mean, counts what is wrong and refuses what cannot be used.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
import os.path
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import attrs
import numpy as np

from mnqcore.errors import DataError
from mnqcore.market import files
from mnqcore.market.bars import COLUMNS, IMPORT, PRICES, Findings, bar_size, check, native_size, validate
from mnqcore.market.calendar import Calendar

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from mnqcore.market.instruments import Instrument

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

FORMAT = "mnq.bars/1"
_SHAPE = (*COLUMNS, "contract")


@attrs.frozen(kw_only=True)
class Manifest:
    """What is known of a stored file; `dropped` counts the rows left out, by kind of fault."""

    format: str
    instrument: str
    bar_size: str
    session: str
    stamp: str
    rows: int
    start: str
    end: str
    contracts: list[str]
    columns: list[str]
    dropped: dict[str, int]
    source: str
    source_sha256: str
    sha256: str
    mnq: str
    imported: str


@attrs.frozen(kw_only=True, eq=False)
class Read:
    """Bars read from the file `path`: times are bar starts, faults are still in.

    `evidence` says in words what decided the meaning of the times and what was taken for what.
    """

    path: Path
    bars: pd.DataFrame
    bar_size: pd.Timedelta
    stamp: str
    findings: Findings
    unreadable: int
    evidence: tuple[str, ...]


@attrs.frozen(kw_only=True, eq=False)
class Imported:
    """What an import wrote, and what it found."""

    path: Path
    manifest: Manifest
    read: Read


def _naming(
    function: Callable[Concatenate[Path, _Arguments], _Result],
) -> Callable[Concatenate[Path, _Arguments], _Result]:
    """Let every DataError of a function say which file it is about: the checks below know bars, not files."""

    @functools.wraps(function)
    def named(path: Path, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return function(path, *args, **kwargs)
        except DataError as error:
            error.facts = {"where": str(path), **error.facts}
            raise

    return named


@_naming
def read_file(
    path: Path,
    instrument: Instrument,
    *,
    layout: files.Layout | None = None,
    stamp: str = "auto",
    size: pd.Timedelta | None = None,
) -> Read:
    """Read bars from a CSV or parquet file and check them; nothing is refused but what cannot be read.

    Args:
        path: the file; one that `import_file` wrote is checked against its manifest, which then also says the stamp.
        instrument: whose calendar and tick the bars are held against.
        layout: columns, zone, ...; None = found out.
        stamp: whether times are bar starts or bar ends; "auto" decides from the calendar.
        size: of the bars; None = read off the times.

    Raises:
        DataError: unreadable, changed since its import, or its stamp cannot be told.
    """
    calendar = Calendar(instrument)
    manifest = read_manifest(path)
    rows = files.read(path, layout or files.Layout())
    size = size or native_size(rows.frame, calendar)
    evidence = list(rows.notes)
    if manifest:
        stamp = "start"
        evidence.append(f"imported {manifest.imported[:10]} from {manifest.source} (stamp {manifest.stamp})")
    if stamp == "auto":
        stamp, told = _told_stamp(rows.frame.index, calendar)
        evidence.append(told)
    bars = rows.frame if stamp == "start" else rows.frame.set_axis(_starts(rows.frame.index, calendar, size))
    findings = check(bars, instrument, calendar, size)
    return Read(
        path=path,
        bars=bars,
        bar_size=size,
        stamp=stamp,
        findings=findings,
        unreadable=rows.unreadable,
        evidence=tuple(evidence),
    )


def sound(read: Read, *, drop_bad: bool = False) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return the bars in the agreed shape and how many rows were left out, by kind of fault.

    With `drop_bad` rows that cannot be used are left out, the later of two bars of one time among them, and bars are
    put in order; each is counted.

    Raises:
        DataError: there are fatal faults and `drop_bad` is not set, or nothing is left.
    """
    faults = {finding.kind: finding.count for finding in read.findings.fatal}
    if read.unreadable:
        faults = {"unreadable": read.unreadable, **faults}
    if not faults:
        return validate(read.bars), {}
    if not drop_bad:
        raise DataError(
            "these bars cannot be used as they are",
            where=str(read.path),
            found=_counted(faults),
            next=f"{IMPORT} --drop-bad leaves such rows out, orders the rest, and counts both",
        )
    bars = _usable(read.bars)
    if bars.empty:
        raise DataError("no usable bar is left", where=str(read.path), found=_counted(faults))
    return validate(bars), faults


def _counted(faults: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in faults.items())


@_naming
def read_bars(
    path: str | Path,
    instrument: Instrument,
    *,
    stamp: str = "start",
    zone: str = "UTC",
    sep: str | None = None,
    columns: tuple[str, ...] = (),
) -> tuple[pd.DataFrame, pd.Timedelta]:
    """Return the bars of a file in the agreed shape, several contracts apart, and their size.

    A file of the store is only held against its manifest; any other is checked in full, and refused if bars in it
    cannot be used. `columns` are the further columns to keep.
    """
    path = Path(path)
    if manifest := read_manifest(path):
        return _stored_bars(path, manifest, columns), bar_size(manifest.bar_size)
    layout = files.Layout(extra=columns, zone=zone, sep=sep)
    read = read_file(path, instrument, layout=layout, stamp=stamp)
    return sound(read)[0], read.bar_size


@_naming
def import_file(
    path: Path,
    target: Path,
    instrument: Instrument,
    *,
    layout: files.Layout | None = None,
    stamp: str = "auto",
    size: pd.Timedelta | None = None,
    drop_bad: bool = False,
    force: bool = False,
) -> Imported:
    """Bring a file into the store: `target` (a .parquet) and its manifest (.json) beside it, bars at their own size.

    Raises:
        DataError: as `read_file` and `sound`; or the target exists and `force` is not set.
    """
    if target.suffix != ".parquet":
        raise DataError("the store holds parquet files", found=str(target), next=f"--to {target.stem}.parquet")
    if not force and (target.exists() or manifest_path(target).exists()):
        raise DataError("the target exists already", where=str(target), next="--force replaces it")
    read = read_file(path, instrument, layout=layout, stamp=stamp, size=size)
    bars, dropped = sound(read, drop_bad=drop_bad)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and moved: a target that is there is whole, even if the power fails meanwhile.
    partial = target.with_suffix(".parquet.partial")
    bars.to_parquet(partial)
    manifest = _describe(bars, read, dropped, instrument, path, sha256(partial))
    # The manifest goes first: a parquet without its manifest would be taken for a file of the user's own.
    manifest_path(target).write_text(json.dumps(attrs.asdict(manifest), indent=2) + "\n", encoding="utf-8")
    partial.replace(target)
    return Imported(path=target, manifest=manifest, read=read)


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a stored file lies."""
    return path.with_suffix(".json")


def read_manifest(path: Path) -> Manifest | None:
    """Return the manifest of a stored file, None for any other file.

    Raises:
        DataError: the manifest cannot be read, or the file is not the one that it describes.
    """
    if path.suffix != ".parquet" or not os.path.isfile(path) or not os.path.isfile(beside := manifest_path(path)):
        return None
    try:
        known = json.loads(beside.read_text(encoding="utf-8"))
        manifest = Manifest(**{field.name: known[field.name] for field in attrs.fields(Manifest)})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            "the manifest cannot be read", where=str(beside), found=repr(error), next="import the file again"
        ) from error
    if (found := sha256(path)) != manifest.sha256:
        raise DataError(
            "the file is not the one that was imported",
            where=str(path),
            found=f"sha256 {found[:12]}, the manifest says {manifest.sha256[:12]}",
            next="import it again, or delete the manifest to use the file as it is",
        )
    return manifest


def stored(directory: Path) -> list[tuple[Path, Manifest | DataError]]:
    """Return the stored files under a directory with their manifests, or what is wrong with them."""
    found: list[tuple[Path, Manifest | DataError]] = []
    for path in sorted(directory.rglob("*.parquet")):
        try:
            if manifest := read_manifest(path):
                found.append((path, manifest))
        except DataError as error:
            found.append((path, error))
    return found


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored_bars(path: Path, manifest: Manifest, columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    if absent := sorted(set(columns) - set(manifest.columns)):
        raise DataError(
            f"no column {', '.join(absent)}",
            where=str(path),
            found=", ".join(manifest.columns),
            next=f"import the file again, with --column {absent[0]}",
        )
    kept = [name for name in manifest.columns if name in _SHAPE or name in columns]
    return validate(pd.read_parquet(path, columns=kept))


def _told_stamp(times: pd.Index[Any], calendar: Calendar) -> tuple[str, str]:
    """Tell bar starts from bar ends: starts fall on a session's open and never on its close, ends the reverse."""
    import pandas as pd

    index = pd.DatetimeIndex(times)
    near = pd.Timedelta(days=7)
    sessions = calendar.sessions(index.min() - near, index.max() + near)
    ordered = np.sort(index.as_unit("ns").asi8)
    opens, closes = (pd.DatetimeIndex(sessions[name]).asi8 for name in ("open", "close"))
    used = np.searchsorted(ordered, closes, side="right") > np.searchsorted(ordered, opens)
    apart = opens[1:] > closes[:-1]  # where a session follows the last at once, nothing can be told
    opens, closes = opens[np.append(True, apart) & used], closes[np.append(apart, True) & used]
    at_open, at_close = int(np.isin(opens, ordered).sum()), int(np.isin(closes, ordered).sum())
    told = (
        f"{at_open} of {len(opens)} session opens and {at_close} of {len(closes)} closes have a bar stamped just then"
    )
    # Sound files have none of the wrong kind; a tenth is left to the calendar being wrong on some days.
    if at_open > 9 * at_close:
        return "start", f"{told}: stamps are bar starts"
    if at_close > 9 * at_open:
        return "end", f"{told}: stamps are bar ends"
    raise DataError(
        "it cannot be told whether times are bar starts or bar ends",
        found=told,
        next=f'data.stamp = "start" (or "end"), or: {IMPORT} --stamp start (or end)',
    )


def _starts(times: pd.Index[Any], calendar: Calendar, size: pd.Timedelta) -> pd.DatetimeIndex:
    """Turn bar ends into starts; a session's last bar can be shorter than the others, so it goes by the grid."""
    import pandas as pd

    within = pd.DatetimeIndex(times) - pd.Timedelta(1, "ns")
    period, ns, step = calendar.period(within), within.asi8, int(size.as_unit("ns").value)
    starts = np.where(period >= 0, ns - (ns - period) % step, ns + 1 - step)
    return pd.DatetimeIndex(starts.view("M8[ns]"), name="time").tz_localize("UTC")


def _usable(bars: pd.DataFrame) -> pd.DataFrame:
    prices = bars[list(PRICES)].to_numpy(np.float64)
    volume = bars["volume"].to_numpy(np.float64)
    opened, high, low, close = prices.T
    with np.errstate(invalid="ignore"):
        good = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1) & np.isfinite(volume) & (volume >= 0)
        good &= (high >= np.maximum(opened, close)) & (low <= np.minimum(opened, close))
    keys = ["time", *(["contract"] if "contract" in bars else [])]
    kept = bars[good].reset_index().drop_duplicates(keys).sort_values(keys, kind="stable")
    usable: pd.DataFrame = kept.set_index("time")
    return usable


def _describe(
    bars: pd.DataFrame, read: Read, dropped: dict[str, int], instrument: Instrument, source: Path, digest: str
) -> Manifest:
    from importlib.metadata import PackageNotFoundError, version

    try:
        mnq = version("mnq")
    except PackageNotFoundError:  # run from a source tree that is not installed
        mnq = "not installed"
    return Manifest(
        format=FORMAT,
        instrument=instrument.name,
        bar_size=read.findings.bar_size,
        session="full",
        stamp=read.stamp,
        rows=len(bars),
        start=bars.index[0].isoformat(),
        end=bars.index[-1].isoformat(),
        contracts=sorted(set(bars["contract"])) if "contract" in bars else [],
        columns=list(bars.columns),
        dropped=dropped,
        source=source.name,
        source_sha256=sha256(source),
        sha256=digest,
        mnq=mnq,
        imported=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
