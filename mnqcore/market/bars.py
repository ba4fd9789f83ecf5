"""Bars as a DataFrame: the shape they must have, their size, and larger bars made of smaller ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from mnqcore.errors import DataError
from mnqcore.market.checks import Finding, Findings, check, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.calendar import Calendar

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

__all__ = [
    "COLUMNS",
    "HOW",
    "IMPORT",
    "PRICES",
    "Finding",
    "Findings",
    "bar_size",
    "check",
    "native_size",
    "resample",
    "size_text",
    "validate",
]

IMPORT = "mnq data import FILE --to NEW.parquet --instrument NAME"
"""How a file is imported; hints add the option that tells what could not be found out."""

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")
"""What all bars have."""
_SECONDS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400}
_SIZE = re.compile(r"\s*(\d+)\s*([a-z]+?)s?\s*", re.IGNORECASE)
_USUAL_SIZES = (1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 14400, 28800, 86400)

HOW: dict[str, Callable[[Floats, Ints], Floats]] = {
    "first": lambda values, starts: values[starts],
    "last": lambda values, starts: values[np.append(starts[1:], len(values)) - 1],
    "max": np.maximum.reduceat,
    "min": np.minimum.reduceat,
    "sum": np.add.reduceat,
    "mean": lambda values, starts: np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values))),
}
"""how -> what makes one value of each block of values; blocks begin at `starts`."""

_USUAL_HOW = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def bar_size(text: str) -> pd.Timedelta:
    """Read a bar size: "5 min", "5 mins", "1 hour", "30 secs", "1 day"; at most a day.

    Raises:
        DataError: it is none.
    """
    import pandas as pd

    found = _SIZE.fullmatch(text)
    unit = found[2].lower() if found else ""
    seconds = int(found[1]) * (_SECONDS | {"day": 86400}).get(unit, 0) if found else 0
    if not 0 < seconds <= 86400:
        raise DataError("not a bar size", found=repr(text), next='write "5 min", "1 hour", "30 secs" or "1 day"')
    return pd.Timedelta(seconds=seconds).as_unit("ns")


def validate(frame: pd.DataFrame) -> pd.DataFrame:
    """Return bars if they have the agreed shape, their times in nanoseconds; nothing else is changed.

    The shape: an index named `time`, of UTC bar starts in order; float64 `open high low close volume`, finite, open
    and close within low .. high; any further columns float64, but `contract` (str). Times are unique, with `contract`
    for each contract.

    Raises:
        DataError: what is wrong, all of it.
    """
    import pandas as pd

    complaints = [*_index_complaints(frame), *_column_complaints(frame)]
    complaints = complaints or _range_complaints(frame)
    if complaints:
        raise DataError("these are no bars", found="; ".join(complaints), next="mnq data check FILE tells more")
    index = pd.DatetimeIndex(frame.index)
    return frame if index.unit == "ns" else frame.set_axis(index.as_unit("ns"))


def native_size(bars: pd.DataFrame, calendar: Calendar) -> pd.Timedelta:
    """Return the size of bars, read off their times: the largest usual size on whose grid 99 % of them lie.

    It is at most the most frequent step from one time to the next, so that a hole or two mislead nobody.

    Raises:
        DataError: too few bars, or no size fits.
    """
    import pandas as pd

    times = pd.DatetimeIndex(bars.index).unique().as_unit("ns")
    steps, counts = np.unique(np.diff(np.sort(times.asi8)), return_counts=True)
    period = calendar.period(times)
    offset = (times.asi8 - period)[period >= 0]
    # Distances from the beginning of the trading period, not from midnight: a break can shift the grid.
    for seconds in reversed(_USUAL_SIZES if len(steps) and len(offset) else ()):
        size = seconds * 1_000_000_000
        if size <= steps[np.argmax(counts)] and np.mean(offset % size == 0) >= 0.99:
            return pd.Timedelta(size, "ns")
    raise DataError(
        "the bar size cannot be read off the times",
        found=f"{len(times)} times, {len(offset)} of them in trading hours",
        next=f'{IMPORT} --bar-size "5 min"',
    )


def resample(
    bars: pd.DataFrame, bar_size: pd.Timedelta, calendar: Calendar, how: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Make larger bars: they start at each session's open, and anew after its break, and never reach beyond its end.

    The last bar of a session may be shorter and is kept. Bars outside trading hours belong to no session and are left
    out. Contracts are kept apart. The open is the first, the high the maximum, the volume the sum, ...

    Args:
        bars: of the agreed shape, of a size that divides `bar_size`.
        bar_size: of the bars to make.
        calendar: of the instrument; with `rth` the bars of the cash session alone come back.
        how: further column -> "first", "last", "max", "min", "sum" or "mean".

    Raises:
        DataError: a further column of which `how` says nothing.
    """
    import pandas as pd

    hows = {**_USUAL_HOW, **(how or {})}
    _refuse_undeclared(bars, hows)
    size, period = int(bar_size.as_unit("ns").value), calendar.period(pd.DatetimeIndex(bars.index))
    inside = np.flatnonzero(period >= 0)
    time = pd.DatetimeIndex(bars.index).as_unit("ns").asi8[inside]
    start = time - (time - period[inside]) % size
    contract = pd.factorize(bars["contract"])[0][inside] if "contract" in bars else np.zeros(len(inside), np.int64)
    order = np.lexsort((time, contract, start))  # of one time and contract in the order given: stable
    rows, start, contract = inside[order], start[order], contract[order]
    firsts = np.flatnonzero(np.append(True, (np.diff(start) != 0) | (np.diff(contract) != 0))[: len(rows)])
    index = pd.DatetimeIndex(start[firsts].view("M8[ns]"), name="time").tz_localize("UTC")
    columns = {name: _aggregate(bars[name], rows, firsts, hows.get(name, "first")) for name in bars.columns}
    return pd.DataFrame(columns, index=index)


def _aggregate(column: pd.Series, rows: Ints, firsts: Ints, how: str) -> object:
    if column.name == "contract":
        return column.array[rows[firsts]]
    values = column.to_numpy(np.float64)[rows]
    return HOW[how](values, firsts) if len(firsts) else values


def _refuse_undeclared(bars: pd.DataFrame, hows: Mapping[str, str]) -> None:
    silent = [name for name in bars.columns if name not in hows and name != "contract"]
    unknown = sorted(set(hows.values()) - set(HOW))
    if silent:
        raise DataError(
            f"nothing says how to resample {', '.join(silent)}", next=f"declare one of {', '.join(HOW)} for each"
        )
    if unknown:
        raise DataError(f"no way to resample is called {unknown[0]!r}", next=f"one of {', '.join(HOW)}")


def _index_complaints(frame: pd.DataFrame) -> list[str]:
    import pandas as pd

    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        return [f"the index holds {index.dtype}, not times"]
    complaints = [] if index.name == "time" else [f"the index is named {index.name!r}, not 'time'"]
    if str(index.tz) != "UTC":
        complaints.append(f"times are of the zone {index.tz}, not UTC" if index.tz else "times have no zone, not UTC")
    if index.hasnans:
        return [*complaints, "times are missing"]
    if not index.is_monotonic_increasing:
        complaints.append("times are not in order")
    elif not index.is_unique and ("contract" not in frame or _doubled(frame)):
        complaints.append("a time occurs twice" + (" in a contract" if "contract" in frame else ""))
    return complaints


def _doubled(frame: pd.DataFrame) -> bool:
    import pandas as pd

    time, contract = pd.DatetimeIndex(frame.index).asi8, pd.factorize(frame["contract"])[0]
    order = np.lexsort((contract, time))
    return bool(((np.diff(time[order]) == 0) & (np.diff(contract[order]) == 0)).any())


def _range_complaints(frame: pd.DataFrame) -> list[str]:
    """Name the first bar that no market can have made: a stop or a target would be missed in it."""
    opens, high, low, close = (frame[name].to_numpy() for name in PRICES)
    bad = (high < opens) | (high < close) | (low > opens) | (low > close)
    if not bad.any():
        return []
    at = int(bad.argmax())
    return [f"open or close lie outside low .. high in {int(bad.sum())} bars, the first at {frame.index[at]}"]


def _column_complaints(frame: pd.DataFrame) -> list[str]:
    missing = [name for name in COLUMNS if name not in frame]
    complaints = [f"no column {', '.join(missing)}"] if missing else []
    for name, column in frame.items():
        if name == "contract":
            if column.isna().any():
                complaints.append("contract is missing in some bars")
        elif column.dtype != np.float64:
            complaints.append(f"{name} is {column.dtype}, not float64")
        elif name in COLUMNS and not np.isfinite(column.to_numpy()).all():
            complaints.append(f"{name} has values that are not finite")
    return complaints
