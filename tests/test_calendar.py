"""The calendar: sessions, breaks, early closes, the cash session and the trading day."""

from importlib import resources

import attrs
import numpy as np
import pandas as pd
import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.errors import DataError
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue

MNQ = catalogue()["MNQ"]
FULL = Calendar(MNQ)
CASH = Calendar(MNQ, rth=True)
FIVE = pd.Timedelta("5min")


def utc(text):
    return pd.Timestamp(text, tz="UTC")


def chicago(text):
    return pd.Timestamp(text, tz="America/Chicago").tz_convert("UTC")


def times(*texts):
    return pd.DatetimeIndex([chicago(text) for text in texts])


def session(calendar, day):
    return calendar.sessions(utc(day), utc(day) + pd.Timedelta("23h")).loc[pd.Timestamp(day)]


def test_the_trading_day_begins_at_17_00_chicago_and_sunday_evening_is_mondays():
    bars = times("2025-06-13 16:55", "2025-06-15 16:55", "2025-06-15 17:00", "2025-06-16 15:55", "2025-06-16 17:00")

    located = FULL.locate(bars)

    assert located.day.astype(str).tolist() == ["2025-06-13", "2025-06-15", "2025-06-16", "2025-06-16", "2025-06-17"]
    assert (located.session < 0).tolist() == [True, True, False, False, False]
    assert located.session[2] == located.session[3] == located.session[4] - 1


def test_a_bar_is_inside_from_the_open_to_just_before_the_close():
    located = FULL.locate(times("2025-06-15 17:00", "2025-06-16 15:59:59", "2025-06-16 16:00", "2025-06-16 16:59:59"))

    assert (located.session >= 0).tolist() == [True, True, False, False]
    assert located.open.tolist() == [chicago("2025-06-15 17:00").value] * 2 + [0, 0]
    assert located.close.tolist() == [chicago("2025-06-16 16:00").value] * 2 + [0, 0]
    assert located.flat_close.tolist() == located.close.tolist()


@pytest.mark.parametrize(
    ("day", "opened", "closed"),
    [
        ("2025-03-07", "2025-03-06 23:00", "2025-03-07 22:00"),
        ("2025-03-10", "2025-03-09 22:00", "2025-03-10 21:00"),  # clocks went forward on the 9th
        ("2025-10-31", "2025-10-30 22:00", "2025-10-31 21:00"),
        ("2025-11-03", "2025-11-02 23:00", "2025-11-03 22:00"),  # and back on the 2nd
    ],
)
def test_sessions_follow_chicago_through_the_change_of_clocks(day, opened, closed):
    row = session(FULL, day)

    assert (row["open"], row["close"]) == (utc(opened), utc(closed))


@pytest.mark.parametrize(
    ("day", "close", "flat_close"),
    [
        ("2026-11-26", "12:00", "12:00"),
        ("2026-11-27", "12:15", "12:00"),  # the library says 12:00: flat by the earlier
        ("2026-12-24", "12:15", "12:00"),
        ("2026-04-03", "08:15", "08:15"),
        ("2013-11-28", "10:30", "10:30"),  # the library says 12:00
        ("2025-01-09", "08:30", "08:30"),  # the library has no session
        ("2015-09-18", "16:15", "16:00"),  # the last day of the later close
        ("2015-09-21", "16:00", "16:00"),
        ("2012-11-16", "15:15", "15:15"),  # the last day of the old hours
    ],
)
def test_early_closes_are_the_exchanges_and_flat_is_by_the_earlier_source(day, close, flat_close):
    row = session(FULL, day)

    assert row["close"] == chicago(f"{day} {close}")
    assert row["flat_close"] == chicago(f"{day} {flat_close}")


def test_locate_tells_the_close_to_be_flat_by():
    located = FULL.locate(times("2026-11-27 12:10"))

    assert located.close.tolist() == [chicago("2026-11-27 12:15").value]
    assert located.flat_close.tolist() == [chicago("2026-11-27 12:00").value]


def test_there_is_no_session_on_a_holiday():
    days = FULL.sessions(utc("2025-12-23"), utc("2026-01-03")).index

    assert days.astype(str).tolist() == [
        "2025-12-23", "2025-12-24", "2025-12-26", "2025-12-29", "2025-12-30", "2025-12-31", "2026-01-02"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("day", "traded"),
    [
        ("2021-04-02", True),  # on a first Friday, that of the jobs report, it opens for the morning
        ("2022-04-15", False),
        ("2023-04-07", True),
        ("2024-03-29", False),
        ("2025-04-18", False),
        ("2026-04-03", True),
    ],
)
def test_good_friday_is_a_morning_or_no_day_at_all(day, traded):
    noon = chicago(f"{day} 12:00")
    days = FULL.sessions(noon - pd.Timedelta(days=1), noon).index.astype(str).tolist()

    assert (day in days) == traded
    assert len(days) == 1 + traded


def test_times_that_nanoseconds_hardly_hold_are_refused():
    for text in ("1677-09-22", "2262-04-11"):
        with pytest.raises(DataError, match="outside the years"):
            FULL.locate(times(text))


def test_the_afternoon_break_existed_until_june_2021():
    before, after = session(FULL, "2021-06-25"), session(FULL, "2021-06-28")
    bars = times("2021-06-25 15:10", "2021-06-25 15:15", "2021-06-25 15:25", "2021-06-25 15:30", "2021-06-28 15:15")

    located = FULL.locate(bars)

    assert (before["break_start"], before["break_end"]) == (chicago("2021-06-25 15:15"), chicago("2021-06-25 15:30"))
    assert pd.isna(after["break_start"])
    assert pd.isna(after["break_end"])
    assert (located.session >= 0).tolist() == [True, False, False, True, True]


def test_a_break_after_an_early_close_is_none():
    assert pd.isna(session(FULL, "2014-07-03")["break_start"])


def test_the_cash_session_is_08_30_to_15_00_cut_by_an_early_close():
    day, early = session(CASH, "2025-06-16"), session(CASH, "2025-07-03")

    assert (day["open"], day["close"]) == (chicago("2025-06-16 08:30"), chicago("2025-06-16 15:00"))
    assert (early["close"], early["flat_close"]) == (chicago("2025-07-03 12:15"), chicago("2025-07-03 12:00"))
    assert CASH.sessions(utc("2026-04-03"), utc("2026-04-03 23:00")).empty  # closed before the cash open


def test_the_cash_session_leaves_the_trading_day_as_it_is():
    located = CASH.locate(times("2025-06-15 17:00", "2025-06-16 08:30", "2025-06-16 15:00"))

    assert located.day.astype(str).tolist() == ["2025-06-16"] * 3
    assert (located.session >= 0).tolist() == [False, True, False]


def test_sessions_are_those_that_touch_the_span():
    row = session(FULL, "2025-06-17")

    assert len(FULL.sessions(row["open"], row["open"])) == 1
    assert len(FULL.sessions(row["close"], row["close"])) == 0
    assert len(FULL.sessions(row["open"] - pd.Timedelta("1h"), row["open"] - pd.Timedelta("1s"))) == 0


@pytest.mark.parametrize(
    ("calendar", "day", "size", "count"),
    [
        (FULL, "2025-06-17", "5min", 276),
        (CASH, "2025-06-17", "5min", 78),
        (FULL, "2025-06-17", "1h", 23),
        (FULL, "2025-06-17", "4h", 6),  # the last is 3 hours
        (FULL, "2025-06-17", "1D", 1),
        (FULL, "2020-06-17", "5min", 273),
        (FULL, "2020-06-17", "1h", 24),  # 17:00 .. 15:00, whose last is cut by the break, and 15:30
    ],
)
def test_expected_bars_of_a_day(calendar, day, size, count):
    row = session(calendar, day)

    starts = calendar.bar_starts(row["open"], row["close"], pd.Timedelta(size))

    assert len(starts) == count
    assert starts[0] == row["open"]
    assert str(starts.dtype) == "datetime64[ns, UTC]"


def test_bars_start_anew_after_a_break():
    starts = FULL.bar_starts(chicago("2020-06-17 14:00"), chicago("2020-06-17 17:00"), pd.Timedelta("1h"))

    assert starts.tz_convert("America/Chicago").strftime("%H:%M").tolist() == ["14:00", "15:00", "15:30", "17:00"]


def test_fifty_days_of_five_minute_bars():
    first, last = session(FULL, "2025-09-08"), session(FULL, "2025-11-14")

    assert len(FULL.bar_starts(first["open"], last["close"], FIVE)) == 50 * 276


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1_325_376_000, 1_830_000_000), min_size=1, max_size=20), st.booleans())
def test_locate_agrees_with_the_sessions_table(seconds, rth):
    calendar = Calendar(MNQ, rth=rth)
    moments = pd.DatetimeIndex(np.array(seconds, dtype="M8[s]")).tz_localize("UTC")

    located = calendar.locate(moments)

    for at, moment in enumerate(moments):
        table = calendar.sessions(moment, moment)
        paused = (table["break_start"] <= moment) & (moment < table["break_end"])
        row = table[~paused].iloc[0] if (~paused).any() else None
        assert (located.session[at] >= 0) == (row is not None)
        assert located.close[at] == (row["close"].value if row is not None else 0)
        local = moment.tz_convert("America/Chicago") + pd.Timedelta("7h")
        assert str(located.day[at]) == str(local.tz_localize(None).date())


def test_order_does_not_matter_and_numbers_do_not_change_as_bars_are_added():
    bars = FULL.bar_starts(utc("2023-12-20"), utc("2024-01-10"), pd.Timedelta("1h"))
    shuffled = np.random.default_rng(1).permutation(len(bars))

    whole, mixed, part = FULL.locate(bars), FULL.locate(bars[shuffled]), FULL.locate(bars[:50])

    for name in attrs.fields_dict(type(whole)):
        np.testing.assert_array_equal(getattr(mixed, name), getattr(whole, name)[shuffled])
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:50])
    assert set(np.diff(whole.session)) == {0, 1}


def test_nothing_is_located_for_no_bars():
    located = FULL.locate(FULL.bar_starts(utc("2025-06-14"), utc("2025-06-14 12:00"), FIVE))

    assert [len(getattr(located, name)) for name in ("session", "day", "open", "close", "flat_close")] == [0] * 5


def test_an_average_year():
    assert FULL.days_per_year == pytest.approx(258.8, abs=1)
    assert CASH.days_per_year == pytest.approx(258, abs=1)


@pytest.mark.parametrize(
    ("name", "zone", "day_start"), [("24/7", "UTC", "00:00"), ("NYSE", "America/New_York", "00:00")]
)
def test_other_calendars(name, zone, day_start):
    calendar = Calendar(attrs.evolve(MNQ, calendar=name, timezone=zone, day_start=day_start))
    noon = pd.DatetimeIndex([pd.Timestamp("2025-06-17 12:00", tz=zone).tz_convert("UTC")])

    located = calendar.locate(noon)

    assert located.session[0] >= 0
    assert str(located.day[0]) == "2025-06-17"


def test_an_unknown_calendar_is_refused_with_a_suggestion():
    with pytest.raises(DataError, match="did you mean 'CME_Equity'"):
        Calendar(attrs.evolve(MNQ, calendar="CME_Equty")).locate(times("2025-06-17 12:00"))


@pytest.mark.parametrize("year", [1970, 2150, 2262])
def test_impossible_times_are_refused(year):
    with pytest.raises(DataError, match="outside the years 1971 to 2099"):
        FULL.locate(pd.DatetimeIndex([pd.Timestamp(f"{year}-01-01", tz="UTC")]))


def test_missing_times_are_refused():
    with pytest.raises(DataError, match="missing time"):
        FULL.locate(pd.DatetimeIndex([utc("2025-06-17"), pd.NaT]))


def test_every_override_has_a_source():
    text = resources.files("mnqcore.market").joinpath("calendar_overrides.toml").read_text(encoding="utf-8")
    parts = tomli.loads(text)
    facts = [fact for days in parts["day"].values() for fact in days.values()]
    facts += [era for eras in parts["era"].values() for era in eras]

    assert len(facts) > 50
    assert all(len(fact["source"]) > 5 for fact in facts)
