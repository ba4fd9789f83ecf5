"""When an instrument trades: sessions, breaks, early closes, the cash session and the 17:00 trading day.

Regular hours and holidays come from `pandas_market_calendars`; `calendar_overrides.toml` beside this module holds the
days on which the exchange did otherwise, each with its source. Where the two disagree on a close, `flat_close` is the
earlier one, so that a position is never held into a close that came sooner than one of the sources says.
"""

from __future__ import annotations

import functools
import warnings
from importlib import resources
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import tomli

from mnqcore.errors import DataError, suggest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.market.instruments import Instrument

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

_DAY = 86_400_000_000_000
FIRST_YEAR, LAST_YEAR = 1971, 2099
"""Times beyond these years are mistakes: a wrong unit, a format read wrongly."""
_LONGEST_PAUSE = 10 * _DAY  # no market is closed for longer
_NOT_A_TIME = np.iinfo(np.int64).min
_MARGIN = 4 * _DAY  # sessions of a neighbouring decade that can still reach a time: a long weekend


@attrs.frozen(kw_only=True, eq=False)
class Located:
    """Where each bar lies: arrays of shape (n,).

    `session` counts on from the first session of the decade of the earliest time, -1 outside trading hours; `day` is
    the trading day, outside hours too (a Saturday's is the Saturday). `open`, `close` and `flat_close` are the bar's
    session in UTC nanoseconds, 0 outside; `flat_close` is the close to be flat by, at most `close`.
    """

    session: Ints
    day: NDArray[np.datetime64]
    open: Ints
    close: Ints
    flat_close: Ints


@attrs.frozen(kw_only=True, eq=False)
class _Table:
    """Sessions in order, UTC nanoseconds; `day` counts days since 1970; without a break both its ends are 0."""

    day: Ints
    open: Ints
    close: Ints
    flat_close: Ints
    break_start: Ints
    break_end: Ints

    def take(self, rows: Bools | slice) -> _Table:
        return _Table(**{name: column[rows] for name, column in attrs.asdict(self, recurse=False).items()})


@attrs.frozen
class Calendar:
    """The trading hours of an instrument, of the whole session or, with `rth`, of the cash session alone.

    Cheap to construct: schedules are built once per process, calendar and decade.
    """

    instrument: Instrument
    rth: bool = attrs.field(default=False, kw_only=True)

    @property
    def days_per_year(self) -> float:
        """Trading days in an average year: the mean over 2020 to 2029."""
        return len(self._decade(2020).day) / 10  # fixed years: a metric must not change with the date of its run

    def sessions(self, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return every session that touches [start, end], indexed by `day` (its trading day, naive midnight).

        Columns, UTC: `open`, `close`, `break_start`, `break_end` (NaT without a break), `flat_close`.
        """
        import pandas as pd

        table = self._between(_ns(start), _ns(end))
        times = {
            name: pd.DatetimeIndex(getattr(table, name).view("M8[ns]")).tz_localize("UTC")
            for name in ("open", "close", "break_start", "break_end", "flat_close")
        }
        frame = pd.DataFrame(times, index=pd.DatetimeIndex(table.day.astype("M8[D]").astype("M8[ns]"), name="day"))
        for name in ("break_start", "break_end"):
            frame[name] = frame[name].where(table.break_end > 0)
        return frame

    def locate(self, times: pd.DatetimeIndex) -> Located:
        """Return where each bar start lies; a bar is inside when its start is in [open, close) and in no break.

        `times` may be in any order; a missing time is a DataError.
        """
        ns = times.asi8 if times.unit == "ns" else times.as_unit("ns").asi8
        if not len(ns):
            none = np.zeros(0, np.int64)
            return Located(session=none, day=none.astype("M8[D]"), open=none, close=none, flat_close=none)
        if times.hasnans:
            raise DataError(
                "bars have a missing time", found=f"{int(np.isnat(times.asi8.view('M8[ns]')).sum())} of {len(times)}"
            )
        table = self._table(int(ns.min()), int(ns.max()))
        row = _last_at(table.open, ns)
        opens, closes, flat_closes, breaks, resumes = (
            np.append(column, 0)  # what row -1 reads: a time before the first session
            for column in (table.open, table.close, table.flat_close, table.break_start, table.break_end)
        )
        inside = ns < closes[row]
        if resumes.any():
            inside &= ~((ns >= breaks[row]) & (ns < resumes[row]))
        session = row if inside.all() else np.where(inside, row, -1)
        opens, closes, flat_closes = (column[session] for column in (opens, closes, flat_closes))
        return Located(session=session, day=self._days(ns), open=opens, close=closes, flat_close=flat_closes)

    def bar_starts(self, start: pd.Timestamp, end: pd.Timestamp, bar_size: pd.Timedelta) -> pd.DatetimeIndex:
        """Return every expected bar start in [start, end]: from each session's open, and anew after its break."""
        import pandas as pd

        first, last, size = _ns(start), _ns(end), int(bar_size.as_unit("ns").value)
        opens, closes = _periods(self._between(first, last))
        counts = -(-(closes - opens) // size)
        nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = np.repeat(opens, counts) + nth * size
        starts = starts[(starts >= first) & (starts <= last)]
        return pd.DatetimeIndex(starts.view("M8[ns]"), name="time").tz_localize("UTC")

    def period(self, times: pd.DatetimeIndex) -> Ints:
        """Return the UTC nanosecond at which the unbroken trading period of each bar began, -1 outside hours.

        A period is a session, or what lies before or after its break: bars are aligned to its beginning.
        """
        ns = times.as_unit("ns").asi8
        if not len(ns):
            return np.zeros(0, np.int64)
        opens, closes = _periods(self._table(int(ns.min()), int(ns.max())))
        row = _last_at(opens, ns)
        return np.where(ns < np.append(closes, 0)[row], np.append(opens, -1)[row], -1)

    def bar_ends(self, times: pd.DatetimeIndex, bar_size: pd.Timedelta) -> pd.DatetimeIndex:
        """Return when bars close, UTC: a size after their start, at the latest when trading pauses or ends.

        Outside trading hours a bar lasts its whole size.
        """
        ns, size = times.as_unit("ns").asi8, int(bar_size.as_unit("ns").value)
        if not len(ns):
            return _utc(ns)
        opens, closes = _periods(self._table(int(ns.min()), int(ns.max())))
        end = np.append(closes, 0)[_last_at(opens, ns)]
        return _utc(np.where(end > ns, np.minimum(ns + size, end), ns + size))

    def last_closed(self, moments: pd.DatetimeIndex, bar_size: pd.Timedelta) -> pd.DatetimeIndex:
        """Return the start of the last expected bar that closed at or before each moment, UTC; NaT where none did.

        Bars are those of `bar_starts`; in a break, or while the market is closed, it is the last one before.
        """
        ns, size = moments.as_unit("ns").asi8, int(bar_size.as_unit("ns").value)
        if not len(ns):
            return _utc(ns)
        opens, closes = _periods(self._table(int(ns.min()) - _LONGEST_PAUSE, int(ns.max())))
        row = _last_at(opens, ns)
        # Where not even the first bar of a period has closed, it is the last one of the period before.
        early = ns < np.minimum(np.append(opens, 0)[row] + size, np.append(closes, 0)[row])
        row = np.where(early, row - 1, row)
        known, start, end = row >= 0, np.append(opens, 0)[row], np.append(closes, 0)[row]
        whole = np.where(ns >= end, -(-(end - start) // size), (ns - start) // size)
        return _utc(np.where(known, start + (whole - 1) * size, _NOT_A_TIME))

    def _between(self, start: int, end: int) -> _Table:
        table = self._table(start, end)
        return table.take((table.close > start) & (table.open <= end))

    def _table(self, start: int, end: int) -> _Table:
        first, last = (int(moment.astype("M8[Y]").astype(int)) + 1970 for moment in _moments(start, end))
        if first < FIRST_YEAR or last > LAST_YEAR:
            raise DataError(
                f"a time lies outside the years {FIRST_YEAR} to {LAST_YEAR}",
                found=" .. ".join(str(np.datetime64(ns, "ns"))[:19] for ns in (start, end)),
                next="check the unit and the format of the time column",
            )
        return self._decades(first // 10 * 10, last // 10 * 10)

    def _decades(self, first: int, last: int) -> _Table:
        if first == last:
            return self._decade(first)
        tables = [self._decade(year) for year in range(first, last + 1, 10)]
        return _Table(
            **{
                field.name: np.concatenate([getattr(table, field.name) for table in tables])
                for field in attrs.fields(_Table)
            }
        )

    def _decade(self, year: int) -> _Table:
        if not self.rth:
            return _sessions(self.instrument.calendar, year)
        facts = self.instrument
        return _cash_sessions(facts.calendar, year, facts.timezone, facts.cash_open, facts.cash_close)

    def _days(self, ns: Ints) -> NDArray[np.datetime64]:
        first, last = (int(moment.astype("M8[D]").astype(int)) for moment in _moments(int(ns.min()), int(ns.max())))
        starts = _day_starts(self.instrument.timezone, self.instrument.day_start, first, last)
        days = _last_at(starts, ns)
        days += first
        return days.view("M8[D]")


def _utc(ns: Ints) -> pd.DatetimeIndex:
    import pandas as pd

    return pd.DatetimeIndex(ns.view("M8[ns]"), name="time").tz_localize("UTC")


def _ns(moment: pd.Timestamp) -> int:
    aware = moment.tz_localize("UTC") if moment.tzinfo is None else moment
    return int(aware.as_unit("ns").value)


def _moments(start: int, end: int) -> tuple[np.datetime64, np.datetime64]:
    last = np.iinfo(np.int64).max  # beyond it numpy would begin again at the other end
    return np.datetime64(max(start - _MARGIN, -last), "ns"), np.datetime64(min(end + _MARGIN, last), "ns")


def _last_at(starts: Ints, ns: Ints) -> Ints:
    """Return for each time the row of the last start at or before it, -1 before the first."""
    if (ns[1:] >= ns[:-1]).all():  # a few starts sought in many ordered times: ten times faster than the reverse
        edges = np.concatenate([[0], np.searchsorted(ns, starts), [len(ns)]])
        return np.repeat(np.arange(-1, len(starts)), np.diff(edges))
    return np.searchsorted(starts, ns, side="right") - 1


def _periods(table: _Table) -> tuple[Ints, Ints]:
    broken = table.break_end > 0
    opens = np.concatenate([table.open, table.break_end[broken]])
    closes = np.concatenate([np.where(broken, table.break_start, table.close), table.close[broken]])
    order = np.argsort(opens)
    return opens[order], closes[order]


# By decades: building one costs hardly more than building a year, nearly all of it being the library's start.
@functools.cache
def _sessions(name: str, year: int) -> _Table:
    calendar = _library_calendar(name)
    schedule = _schedule(calendar, f"{year}-01-01", f"{year + 9}-12-31")
    table = _moved_eras(_columns(schedule), calendar)
    days = {day: facts for day, facts in _overrides("day").get(calendar.name, {}).items() if day[:3] == str(year)[:3]}
    table = _moved_days(table, days, calendar.tz.key)
    # The library marks "no break" by an empty one, and leaves breaks beyond an early close.
    broken = (table.break_end > table.break_start) & (table.break_end < table.close)
    return attrs.evolve(
        table, break_start=np.where(broken, table.break_start, 0), break_end=np.where(broken, table.break_end, 0)
    )


def _library_calendar(name: str) -> Any:
    import pandas_market_calendars as market_calendars

    known = market_calendars.get_calendar_names()
    if name not in known:
        near = suggest(name, known)
        raise DataError(
            f"no calendar {name!r} in pandas_market_calendars",
            next=f"did you mean {near!r}?" if near else "see pandas_market_calendars.get_calendar_names()",
        )
    return market_calendars.get_calendar(name)


def _schedule(calendar: Any, start: str, end: str) -> pd.DataFrame:
    times = [
        name
        for name in ("market_open", "market_close", "break_start", "break_end")
        if name in calendar.regular_market_times
    ]
    with warnings.catch_warnings():
        # The library itself uses what pandas has deprecated.
        warnings.filterwarnings("ignore", module="pandas_market_calendars")
        schedule: pd.DataFrame = calendar.schedule(start, end, market_times=times, force_special_times=True)
    return schedule


def _columns(schedule: pd.DataFrame) -> _Table:
    import pandas as pd

    def column(name: str) -> Ints:
        if name not in schedule:
            return np.zeros(len(schedule), np.int64)
        values: Ints = pd.DatetimeIndex(schedule[name]).as_unit("ns").asi8.copy()
        values[values < 0] = 0  # NaT: a day without this time
        return values

    days = schedule.index.to_numpy().astype("M8[D]").astype(np.int64)
    close = column("market_close")
    return _Table(
        day=days,
        open=column("market_open"),
        close=close,
        flat_close=close,
        break_start=column("break_start"),
        break_end=column("break_end"),
    )


def _moved_eras(table: _Table, calendar: Any) -> _Table:
    for era in _overrides("era").get(calendar.name, ()):
        first, last = (int(np.datetime64(era[end], "D").astype(int)) for end in ("first", "last"))
        within = (table.day >= first) & (table.day <= last)
        usual = table.close == _local_each(table.day, era["instead_of"], calendar.tz.key)
        close = np.where(within & usual, _local_each(table.day, era["close"], calendar.tz.key), table.close)
        table = attrs.evolve(table, close=close, flat_close=np.minimum(table.flat_close, close))
    return table


def _moved_days(table: _Table, overrides: dict[str, dict[str, str]], zone: str) -> _Table:
    rows = {int(day): [int(value) for value in values] for day, *values in zip(*_as_lists(table), strict=True)}
    for text, facts in overrides.items():
        day = int(np.datetime64(text, "D").astype(int))
        if facts["close"] == "closed":
            rows.pop(day, None)
            continue
        close = _local(text, facts["close"], zone)
        if day in rows:
            opened, _, library_close, *pause = rows[day]
            rows[day] = [opened, close, min(library_close, close), *pause]
        else:
            rows[day] = [_local(text, facts["open"], zone, evening_before=True), close, close, 0, 0]
    ordered = np.array([[day, *rows[day]] for day in sorted(rows)], dtype=np.int64).reshape(-1, 6).T
    return _Table(**{field.name: column for field, column in zip(attrs.fields(_Table), ordered, strict=True)})


def _as_lists(table: _Table) -> list[list[int]]:
    return [getattr(table, field.name).tolist() for field in attrs.fields(_Table)]


@functools.cache
def _overrides(part: str) -> Any:
    """Return calendar -> what the file's part holds: `day` day -> facts, `era` a list of facts."""
    text = resources.files("mnqcore.market").joinpath("calendar_overrides.toml").read_text(encoding="utf-8")
    return tomli.loads(text)[part]


def _local(day: str, clock: str, zone: str, *, evening_before: bool = False) -> int:
    import pandas as pd

    moment = pd.Timestamp(f"{day} {clock}") - pd.Timedelta(days=int(evening_before and clock >= "12:00"))
    return _ns(moment.tz_localize(zone))


@functools.cache
def _cash_sessions(name: str, year: int, zone: str, cash_open: str, cash_close: str) -> _Table:
    whole = _sessions(name, year)
    opened = np.maximum(whole.open, _local_each(whole.day, cash_open, zone))
    end = _local_each(whole.day, cash_close, zone)
    close, flat_close = np.minimum(whole.close, end), np.minimum(whole.flat_close, end)
    broken = (whole.break_start > opened) & (whole.break_end < close)
    table = _Table(
        day=whole.day,
        open=opened,
        close=close,
        flat_close=flat_close,
        break_start=np.where(broken, whole.break_start, 0),
        break_end=np.where(broken, whole.break_end, 0),
    )
    return table.take(flat_close > opened)


@functools.lru_cache(maxsize=64)
def _day_starts(zone: str, clock: str, first: int, last: int) -> Ints:
    """Return the UTC nanosecond at which each trading day from `first` to `last` (days since 1970) begins."""
    evening = int(clock >= "12:00")  # a day that begins in the evening is named after the next date
    return _local_each(np.arange(first, last + 2) - evening, clock, zone)


def _local_each(days: Ints, clock: str, zone: str) -> Ints:
    import pandas as pd

    hours, minutes = (int(part) for part in clock.split(":"))
    naive = pd.DatetimeIndex(days.astype("M8[D]").astype("M8[ns]")) + pd.Timedelta(hours=hours, minutes=minutes)
    moments: Ints = naive.tz_localize(zone, ambiguous=True, nonexistent="shift_forward").as_unit("ns").asi8
    return moments
