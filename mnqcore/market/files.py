"""Reads bars of any spelling: finds the columns, the order of dates and the zone, and says what it took for what."""

from __future__ import annotations

import os.path
import re
import zlib
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.errors import DataError
from mnqcore.market.bars import COLUMNS, IMPORT
from mnqcore.market.calendar import FIRST_YEAR, LAST_YEAR

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_NAMES = {
    "time": ("timestamp_utc", "timestamp", "datetime", "date_time", "time", "date", "ts_event", "open_time", "ts"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c", "last"),
    "volume": ("volume", "vol", "v", "tick_volume", "tickvol"),
    "contract": ("contract", "symbol", "ticker", "local_symbol", "localsymbol"),
}
"""what is needed -> the names it goes by, in lower case, the surest first."""

_EPOCHS = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", 2.0**63))
"""(unit, numbers below which a count since 1970 is in it)."""

_DOTTED = re.compile(r"^\s*(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d\d)\b")


@attrs.frozen(kw_only=True)
class Layout:
    """How a file is laid out; what is None is found out.

    `columns` maps "time", "date", "open", ..., "contract" to the file's own names; `extra` are further columns to
    keep; `zone` is that of times which name none; `dates` is the order of dates such as 03/04/2025.
    """

    columns: dict[str, str] = attrs.field(factory=dict)
    extra: tuple[str, ...] = ()
    zone: str = "UTC"
    sep: str | None = None
    decimal: str = "."
    dates: str | None = attrs.field(default=None, validator=attrs.validators.in_((None, "day-first", "month-first")))


@attrs.frozen(kw_only=True, eq=False)
class Rows:
    """What was read: a frame as bars have it, but in the file's order and with all its faults.

    `unreadable` counts rows without a readable time, which the frame leaves out. `notes` say what was taken for what.
    """

    frame: pd.DataFrame
    unreadable: int
    notes: tuple[str, ...]


def read(path: Path, layout: Layout) -> Rows:
    """Read a CSV (also .gz, .bz2, .zip, .xz) or parquet file; times become UTC, values float64 or NaN.

    Raises:
        DataError: no such file, no such columns, times that can be read in two ways.
    """
    _refuse_no_file(path)
    import pandas as pd

    raw = _parquet(path) if path.suffix == ".parquet" else _csv(path, layout)
    if raw.empty:
        raise DataError("the file holds no rows", where=str(path))
    names = _columns(raw, layout, path)
    time = _times(raw, names, layout, path)
    columns: dict[str, Any] = {name: _numbers(raw[names[name]]) for name in COLUMNS}
    columns |= {name: _numbers(raw[name]) for name in layout.extra}
    if "contract" in names:
        columns["contract"] = raw[names["contract"]].astype("str").str.strip().array
    readable = ~np.asarray(time.isna())
    frame = pd.DataFrame(columns, index=time)[readable]
    taken = ", ".join(f"{ours} = {theirs!r}" for ours, theirs in names.items() if ours != theirs.lower())
    return Rows(frame=frame, unreadable=int((~readable).sum()), notes=(f"columns taken: {taken}",) if taken else ())


def _refuse_no_file(path: Path) -> None:
    if os.path.isfile(path):  # unlike the Path's own, False for a name that the system cannot even look up
        return
    what = "this is a directory, not a file" if os.path.isdir(path) else "no such file"
    raise DataError(what, where=str(path), next="give the path of a CSV or parquet file")


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError("this is no parquet file", where=str(path), found=str(error).splitlines()[0]) from error
    return frame.reset_index() if isinstance(frame.index, pd.DatetimeIndex) else frame


def _csv(path: Path, layout: Layout) -> pd.DataFrame:
    import pandas as pd

    try:
        sep = layout.sep or _separator(path)
        frame: pd.DataFrame = pd.read_csv(
            path, sep=sep, decimal=layout.decimal, skipinitialspace=True, encoding="utf-8-sig", low_memory=False
        )
    except (OSError, EOFError, ValueError, zlib.error) as error:  # pandas' ParserError is a ValueError
        raise DataError("this cannot be read as CSV", where=str(path), found=str(error).splitlines()[0]) from error
    return frame.rename(columns=lambda name: str(name).strip().strip("<>"))


def _separator(path: Path) -> str:
    """Return the separator that occurs most in the first line."""
    import pandas as pd

    first = pd.read_csv(path, sep="\0", engine="python", header=None, nrows=1, encoding="utf-8-sig")
    return max(",;\t|", key=str(first.iloc[0, 0]).count)


def _columns(raw: pd.DataFrame, layout: Layout, path: Path) -> dict[str, str]:
    """Return what is needed -> the file's column: as told, else by name."""
    # Reversed, so that of two columns that differ in case only the first is taken.
    lower = {str(name).lower(): str(name) for name in reversed(raw.columns)}
    names = dict(layout.columns)
    absent = [name for name in (*names.values(), *layout.extra) if name not in raw]
    for ours, known in _NAMES.items():
        if ours not in names and (found := next((lower[name] for name in known if name in lower), None)):
            names[ours] = found
    if "date" not in names and "time" not in layout.columns and {"date", "time"} <= set(lower):
        names |= {"date": lower["date"], "time": lower["time"]}
    absent += [name for name in ("time", *COLUMNS) if name not in names]
    if absent:
        raise DataError(
            f"no column {', '.join(absent)}",
            where=str(path),
            found=", ".join(map(str, raw.columns))[:200],
            next=_column_hint(set(absent) <= set(layout.extra)),
        )
    return names


def _column_hint(further: bool) -> str:
    if further:
        return "name one that the file has, in data.columns or with --column"
    return f"{IMPORT} --time COLUMN --open COLUMN ... says which is which"


def _numbers(column: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    import pandas as pd

    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)


def _times(raw: pd.DataFrame, names: dict[str, str], layout: Layout, path: Path) -> pd.DatetimeIndex:
    import pandas as pd

    column = raw[names["time"]]
    if "date" in names:
        column = raw[names["date"]].astype("str") + " " + column.astype("str")
    if pd.api.types.is_datetime64_any_dtype(column):
        times = pd.DatetimeIndex(column)
    elif pd.api.types.is_numeric_dtype(column):
        times = _epochs(column, path)
    else:
        times = _texts(column.astype("str"), layout, path)
    _refuse_other_ages(times, column, path)
    return _in_utc(times, layout.zone, path).as_unit("ns").rename("time")


def _refuse_other_ages(times: pd.DatetimeIndex, column: pd.Series, path: Path) -> None:
    """Refuse what no bar can be of; far enough off, nanoseconds could not even hold it."""
    years = np.asarray(times.year, dtype=np.float64)  # NaN where there is no time
    wrong = np.flatnonzero((years < FIRST_YEAR) | (years > LAST_YEAR))
    if len(wrong):
        raise _other_age(path, f"{column.iloc[wrong[0]]} in row {wrong[0] + 1:,} of {len(column):,}")


def _other_age(path: Path, found: str) -> DataError:
    return DataError(
        f"a time lies outside the years {FIRST_YEAR} to {LAST_YEAR}",
        where=str(path),
        found=found,
        next="mend or remove such rows; if all are, check the unit and the format of the time column",
    )


def _epochs(column: pd.Series, path: Path) -> pd.DatetimeIndex:
    """Read counts since 1970 in the unit that makes dates of our age; 20250131 is a date, not a count."""
    import pandas as pd

    largest = float(column.abs().max())
    if 1.9e7 < largest < 2.2e7:
        return pd.DatetimeIndex(pd.to_datetime(column.astype("str"), format="%Y%m%d", errors="coerce"))
    if not largest > 3e8:
        raise DataError("the time column holds small numbers, not times", where=str(path), found=f"up to {largest:g}")
    unit = next((unit for unit, below in _EPOCHS if largest < below), None)
    if unit is None:
        raise _other_age(path, f"{largest:g}")
    missing = column.isna().to_numpy()
    counts = column.fillna(0).round().to_numpy(np.int64).view(f"M8[{unit}]")
    return pd.DatetimeIndex(np.where(missing, np.array("NaT", counts.dtype), counts)).tz_localize("UTC")


def _texts(column: pd.Series, layout: Layout, path: Path) -> pd.DatetimeIndex:
    """Read written times, by one format for the whole column: that of its first row."""
    import pandas as pd

    column = column.str.strip()
    parts = column.str.extract(_DOTTED)
    if parts[0].notna().mean() < 0.5:
        # An offset or a Z after the clock: without one the times are of the layout's zone.
        zoned = bool(column.str.contains(r":.*(?:[+-]\d\d(?::?\d\d)?|Z)$").any())
        return pd.DatetimeIndex(pd.to_datetime(column, format="ISO8601", utc=zoned, errors="coerce"))
    order = layout.dates or _date_order(parts, path)
    first, second = ("%d", "%m") if order == "day-first" else ("%m", "%d")
    sign, year = parts[1].mode()[0], "%Y" if parts[3].str.len().max() == 4 else "%y"
    rest = column.str.replace(_DOTTED, "", regex=True)
    dates = parts[0] + sign + parts[2] + sign + parts[3]
    days = pd.to_datetime(dates, format=f"{first}{sign}{second}{sign}{year}", errors="coerce")
    return pd.DatetimeIndex(days + _clock(rest))


def _date_order(parts: pd.DataFrame, path: Path) -> str:
    """Tell 31/12 from 12/31: a number over 12 is no month, and dots are only written day first."""
    import pandas as pd

    first, second = (pd.to_numeric(parts[at]).max() for at in (0, 2))
    if second > 12 >= first:
        return "month-first"
    if first > 12 >= second or (parts[1].mode()[0] == "." and second <= 12):
        return "day-first"
    raise DataError(
        "dates can be read day first or month first",
        where=str(path),
        found=f"e.g. {parts[0].iloc[0]}{parts[1].iloc[0]}{parts[2].iloc[0]}; no number above 12 tells",
        next=f"{IMPORT} --dates day-first (or month-first)",
    )


def _clock(texts: pd.Series) -> pd.Series:
    """Read what follows the date: 22:00, 22:00:00, 22:00:00.000, 10:00 PM, or nothing."""
    import pandas as pd

    texts = texts.str.strip(" \tT,;")
    found = texts.str.extract(r"^(\d{1,2}):(\d\d)(?::(\d\d)(\.\d+)?)?\s*([AaPp][Mm])?$")
    numbers = found[[0, 1, 2, 3]].apply(pd.to_numeric)
    half = found[4].str.lower()
    hours = numbers[0].where(half.isna(), numbers[0] % 12) + 12.0 * (half == "pm")
    seconds = hours * 3600 + numbers[1] * 60 + numbers[2].fillna(0) + numbers[3].fillna(0)
    since_midnight: pd.Series = pd.to_timedelta(seconds.where(texts != "", 0.0), unit="s")
    return since_midnight


def _in_utc(times: pd.DatetimeIndex, zone: str, path: Path) -> pd.DatetimeIndex:
    if times.tz is not None:
        return times.tz_convert("UTC")
    try:
        return times.tz_localize(zone, ambiguous="infer").tz_convert("UTC")
    except (ValueError, KeyError) as error:  # an unknown zone, an hour that occurs twice or never in it
        raise DataError(
            f"times cannot be read in the zone {zone}",
            where=str(path),
            found=str(error).splitlines()[0][:200],
            next=f'data.zone = "America/Chicago", or: {IMPORT} --zone America/Chicago',
        ) from error
