"""Bars from a file: CSV, compressed CSV or parquet, of one contract or many, of the asked size or a finer one."""

from __future__ import annotations

import os.path
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mnqcore import BarRequest, DataError, param, plugin

if TYPE_CHECKING:
    import pandas as pd


_HOW = ("first", "last", "max", "min", "sum", "mean")


@plugin
class File:
    """Read bars from a CSV or parquet file; `mnq data import` makes one that needs no options."""

    path: str = param(help="CSV, CSV.gz or parquet file")
    start: str | None = param(None, help="leave out bars before this date or time, UTC")
    end: str | None = param(None, help="leave out bars from this date or time on, UTC")
    stamp: str = param(
        "start", choices=("start", "end", "auto"), help="whether times are bar starts or ends; an imported file knows"
    )
    zone: str = param("UTC", help="zone of times that name none")
    sep: str | None = param(None, help="what separates values in CSV; found out if not given")
    columns: tuple[str, ...] = param(
        (), help='further columns to keep, "NAME" or "NAME:HOW" they resample: first last (default) max min sum mean'
    )

    def __attrs_post_init__(self) -> None:
        if not self.path.strip():
            raise ValueError(f"path must name a file, was {self.path!r}")
        for name in ("start", "end"):
            _moment(name, getattr(self, name))
        for column in self.columns:
            _rule(column)

    @property
    def how(self) -> dict[str, str]:
        """Further column -> how larger bars are made of it."""
        return dict(_rule(column) for column in self.columns)

    def bars(self, request: BarRequest) -> pd.DataFrame:
        """Return float64 `open high low close volume`, `contract` if the file has it, and the further columns.

        Finer bars are made larger, each session's from its open on. `request.session = "rth"` leaves only the cash
        session's bars. Raises DataError if the file is unreadable or bad, its bars are larger than asked for, or
        nothing is left of them.
        """
        from mnqcore import read_bars

        if request.duration is not None:
            raise DataError(
                "a file has no end to count back from",
                where=self.path,
                found=f"duration = {request.duration!r}",
                next="set data.start and data.end",
            )
        how = self.how
        path = Path(os.path.expanduser(self.path))  # unlike the Path's own, leaves the home of nobody as it is
        bars, size = read_bars(
            path, request.instrument, stamp=self.stamp, zone=self.zone, sep=self.sep, columns=tuple(how)
        )
        cut = self._cut(self._sized(bars, size, request, how), request)
        if cut.empty:
            raise DataError(
                "the file has no bar in the period asked for",
                where=str(path),
                found=f"{bars.index[0]} .. {bars.index[-1]}",
                next="set data.start and data.end within it",
            )
        return cut

    def _sized(self, bars: pd.DataFrame, size: pd.Timedelta, request: BarRequest, how: dict[str, str]) -> pd.DataFrame:
        import pandas as pd

        from mnqcore import Calendar, resample, size_text

        calendar = Calendar(request.instrument, rth=request.session == "rth")
        if size != request.bar_size:
            if request.bar_size.value % size.value:
                raise DataError(
                    "the file's bars do not make up bars of the size asked for",
                    where=self.path,
                    found=f"{size_text(size)}, asked for {size_text(request.bar_size)}",
                    next="set bar_size to the file's or to a multiple of it",
                )
            return resample(bars, request.bar_size, calendar, how)
        return bars[calendar.locate(pd.DatetimeIndex(bars.index)).session >= 0] if calendar.rth else bars

    def _cut(self, bars: pd.DataFrame, request: BarRequest) -> pd.DataFrame:
        """Return the bars of [start, end), of the file's own and of the request's bounds."""
        import pandas as pd

        for start in (request.start, self.start):
            if start is not None:
                bars = bars[bars.index >= pd.to_datetime(start, utc=True)]
        for end in (request.end, self.end):
            if end is not None:
                bars = bars[bars.index < pd.to_datetime(end, utc=True)]
        return bars


def _rule(column: str) -> tuple[str, str]:
    """Return a further column's name and how it is resampled."""
    name, _, how = column.partition(":")
    if how and how not in _HOW:
        raise ValueError(f"columns: {column!r} must end in one of {', '.join(_HOW)}")
    return name, how or "last"


def _moment(name: str, text: str | None) -> None:
    try:
        datetime.fromisoformat(text or "2000-01-01")
    except ValueError as error:
        raise ValueError(f"{name} must be a date or time such as 2025-01-31, was {text!r}") from error
