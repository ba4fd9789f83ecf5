"""The clock of live trading: what it says of the next slot is what the tape says of the next bar."""

import functools
import json
import os
import random
import subprocess
import sys
import timeit

import attrs
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.api.values import ExitReason
from mnqcore.errors import DataError
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue
from mnqcore.strategy.settings import Session
from mnqcore.tape import lay
from mnqcore.trading.clockwork import Clockwork, next_roll
from tests.tapes import bars, rolling

MNQ = catalogue()["MNQ"]
EURO = catalogue()["6E"]
GOLD = attrs.evolve(MNQ, name="GC", calendar="CMEGlobex_GC", expiry="none")
CRUDE = attrs.evolve(MNQ, name="CL", calendar="CMEGlobex_CL", expiry="none", cash_open="08:00", cash_close="13:30")
ALWAYS = attrs.evolve(MNQ, calendar="24/7", expiry="none")
FIVE, HOUR = pd.Timedelta("5min"), pd.Timedelta("1h")
SECOND = 1_000_000_000
MINUTE = 60 * SECOND
YEARS = ("2010-01-01", "2029-12-31")


def chicago(text):
    return int(pd.Timestamp(text, tz="America/Chicago").as_unit("ns").value)


def told(time):
    return f"{pd.Timestamp(time, tz='UTC').tz_convert('America/Chicago'):%Y-%m-%d %H:%M}"


def clockwork(instrument=MNQ, size=FIVE, rolls=(), **session):
    return Clockwork(Calendar(instrument), Session(**session), size, rolls)


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@functools.cache
def contracts(calendar):
    """The quarterly contracts of two decades, and when the lead leaves each."""
    codes = [f"{calendar.instrument.name}{year}{month:02d}" for year in range(2009, 2031) for month in (3, 6, 9, 12)]
    return codes, np.array([next_roll(code, int(code[-6:-2]), calendar) for code in codes])


def every_bar(instrument, size, first, last, rth=False):
    """Bars of every slot there is, joined at the rule's rolls where the instrument has any; and these rolls."""
    calendar = Calendar(instrument, rth=rth)
    index = calendar.bar_starts(utc(first), utc(last), size)
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 100.0) | {"volume": 1.0}, index=index)
    if instrument.expiry == "none":
        return frame, []
    codes, rolls = contracts(calendar)
    lead = np.searchsorted(rolls, index.asi8, side="right")
    inside = [int(roll) for roll in rolls if index.asi8[0] < roll <= index.asi8[-1]]
    return frame.assign(contract=np.array(codes, dtype=object)[lead]), inside


def compare(instrument, size, first, last, *, drop=0.0, seed=0, **session):
    """Hold the clock against the tape: bar by bar, with a share of the bars missing."""
    frame, rolls = every_bar(instrument, size, first, last, Session(**session).rth)
    if drop:
        keep = np.random.default_rng(seed).random(len(frame)) >= drop
        frame = frame[keep]
    if len(frame) < 2:
        return 0
    market = lay(frame, instrument, Session(**session), size)
    assert market.outside == 0
    tape, starts = market.tape, market.orders["time"]
    clock = clockwork(instrument, size, rolls, **session)
    records = np.array([clock.following(start) for start in starts.tolist()])
    ahead = np.array([clock.next_slot(start) for start in starts.tolist()])
    np.testing.assert_array_equal(records["late"], tape["late"])
    exists = ahead[:-1] == starts[1:]
    assert exists.all() or drop
    for name in ("flat", "missed", "rolled"):
        np.testing.assert_array_equal(records[name][:-1][exists], tape[name][1:][exists], err_msg=name)
    np.testing.assert_array_equal(records["day"][:-1][exists], market.days[1:][exists].astype(np.int64))
    own = np.array([clock.slot(start) for start in starts[::7].tolist()])
    np.testing.assert_array_equal(own["flat"], tape["flat"][::7])
    np.testing.assert_array_equal(own["late"], tape["late"][::7])
    return len(tape)


SESSIONS = [
    {},
    {"rth": True},
    {"flat_by_close": False},
    {"flat_lead": 5, "no_entry_after": "14:30"},
    {"flat_lead": 400},
    {"rth": True, "flat_by_close": False, "flat_lead": 100},
    {"flat_by_close": False, "no_entry_after": "16:00"},
]


@pytest.mark.parametrize("session", SESSIONS, ids=str)
@pytest.mark.parametrize("drop", [0.0, 0.3])
def test_the_next_slot_is_marked_as_the_tape_marks_the_next_bar(session, drop):
    # Early closes, the end of the break, clocks that change, a roll and holidays: 2021-05 .. 2021-12
    assert compare(MNQ, pd.Timedelta("15min"), "2021-05-20", "2021-12-28", drop=drop, **session) > 2_500


@pytest.mark.parametrize("instrument", [EURO, GOLD, CRUDE, ALWAYS], ids=lambda one: f"{one.name}-{one.calendar}")
def test_of_other_instruments_too(instrument):
    assert compare(instrument, HOUR, "2025-10-01", "2026-04-10") > 2_000
    assert compare(instrument, HOUR, "2025-10-01", "2026-04-10", drop=0.4) > 1_000


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 20 * 365),
    st.sampled_from(["5min", "7min", "30min", "4h", "1D"]),
    st.fixed_dictionaries(
        {},
        optional={
            "rth": st.booleans(),
            "flat_by_close": st.booleans(),
            "flat_lead": st.integers(1, 40),
            "no_entry_after": st.sampled_from(["09:00", "15:59", "17:30"]),
        },
    ),
    st.sampled_from([0.0, 0.2, 0.7]),
    st.integers(0, 9),
)
def test_the_clock_is_the_tapes_in_any_week(day, size, session, drop, seed):
    first = utc("2010-01-01") + pd.Timedelta(days=day)
    compare(
        MNQ, pd.Timedelta(size), first.date(), (first + pd.Timedelta(days=12)).date(), drop=drop, seed=seed, **session
    )


@pytest.mark.proof
@pytest.mark.parametrize(
    ("instrument", "size", "session"),
    [
        (MNQ, FIVE, {}),
        (MNQ, HOUR, {"flat_by_close": False, "no_entry_after": "15:00"}),
        (MNQ, HOUR, {"rth": True, "flat_lead": 3}),
        (EURO, HOUR, {}),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_f48_f49_twenty_years_of_slots_are_marked_as_the_tape_marks_them(instrument, size, session):
    assert compare(instrument, size, *YEARS, **session) > 30_000


@pytest.mark.proof
@pytest.mark.parametrize("instrument", [GOLD, CRUDE], ids=lambda one: one.name)
def test_f48_f49_so_are_those_of_other_calendars(instrument):
    assert compare(instrument, HOUR, "2021-01-01", "2026-12-31") > 30_000


def test_a_roll_whose_first_bars_are_missing_is_prepared_for_all_the_same():
    old = bars(("2024-06-14 15:40", "2024-06-14 15:55"), contract="MNQM4")
    new = bars(("2024-06-16 17:10", "2024-06-16 17:20"), contract="MNQU4")
    market = lay(rolling(old, new), MNQ, Session(flat_by_close=False), FIVE)
    clock = clockwork(rolls=[next_roll("MNQM4", 2024, Calendar(MNQ))], flat_by_close=False)

    assert market.tape["flat"].tolist() == [0, 0, ExitReason.ROLL, ExitReason.ROLL, 0, 0, 0]
    assert market.tape["rolled"].tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert market.changes == list(clock.rolls)
    assert [told(roll.time.value) for roll in market.rolls] == ["2024-06-16 17:10"]
    assert [clock.slot(start)["flat"] for start in market.orders["time"].tolist()] == market.tape["flat"].tolist()


def test_what_a_decision_has_to_know_around_a_close():
    clock = clockwork()
    known = {time: clock.following(chicago(f"2026-11-24 {time}")) for time in ("15:40", "15:45", "15:50", "15:55")}

    assert [record["flat"] for record in known.values()] == [0, ExitReason.SESSION, ExitReason.SESSION, 0]
    assert [record["missed"] for record in known.values()] == [0, 0, 0, 1]
    assert [record["late"] for record in known.values()] == [0, 0, 0, 2]
    days = [np.datetime64(int(record["day"]), "D").astype(str) for record in known.values()]
    assert days == ["2026-11-24"] * 3 + ["2026-11-25"]


@pytest.mark.parametrize(
    ("now", "flat", "close", "opened"),
    [
        ("2026-11-24 10:00", "2026-11-24 15:50", "2026-11-24 16:00", "2026-11-24 17:00"),
        ("2026-11-24 15:59", "2026-11-24 15:50", "2026-11-24 16:00", "2026-11-24 17:00"),
        ("2026-11-24 16:00", "2026-11-25 15:50", "2026-11-25 16:00", "2026-11-24 17:00"),
        ("2026-11-24 17:00", "2026-11-25 15:50", "2026-11-25 16:00", "2026-11-25 17:00"),
        ("2026-11-26 09:00", "2026-11-26 11:50", "2026-11-26 12:00", "2026-11-26 17:00"),  # Thanksgiving
        ("2026-11-27 09:00", "2026-11-27 11:50", "2026-11-27 12:15", "2026-11-29 17:00"),  # one source says 12:00
        ("2026-12-24 09:00", "2026-12-24 11:50", "2026-12-24 12:15", "2026-12-27 17:00"),  # Friday is Christmas
        ("2026-12-25 09:00", "2026-12-28 15:50", "2026-12-28 16:00", "2026-12-27 17:00"),
        ("2026-06-19 09:00", "2026-06-19 11:50", "2026-06-19 12:00", "2026-06-21 17:00"),  # Juneteenth
        ("2027-06-18 09:00", "2027-06-18 11:50", "2027-06-18 12:00", "2027-06-20 17:00"),  # and as it is observed
        ("2026-04-03 07:00", "2026-04-03 08:05", "2026-04-03 08:15", "2026-04-05 17:00"),  # Good Friday
    ],
)
def test_f49_the_real_close_counts(now, flat, close, opened):
    clock, moment = clockwork(), chicago(now)

    assert [told(clock.flat_from(moment)), told(clock.session_close(moment)), told(clock.next_open(moment))] == [
        flat, close, opened
    ]  # fmt: skip


@pytest.mark.parametrize("session", [{}, {"flat_lead": 1}, {"rth": True}, {"flat_by_close": False}], ids=str)
@pytest.mark.parametrize("silent", [0.0, 0.5, 0.95])
def test_f49_f51_a_position_closed_as_the_clock_says_is_never_carried_into_a_flat_slot(session, silent):
    # Every slot ends with a bar or without one; what must be flat in the next slot is told in time, bar or no bar.
    rng, calendar = random.Random(4), Calendar(MNQ, rth=session.get("rth", False))
    roll = next_roll("MNQZ6", 2026, calendar)
    assert roll
    clock = Clockwork(calendar, Session(**session), FIVE, [roll])
    held, opened, closed = False, 0, 0
    now, end = chicago("2026-11-20 09:00"), chicago("2026-12-30 09:00")
    while now < end:
        ahead, then = clock.following(now), clock.next_slot(now)
        forced = bool(ahead["flat"] or ahead["missed"])
        closed += held and forced
        if forced:
            held = False  # CLOSE was sent at the close of this slot: it fills at the next open
        elif not held and not ahead["rolled"] and not ahead["late"] and rng.random() >= silent:
            held, opened = True, opened + 1
        assert not (held and clock.slot(then)["flat"])
        assert clock.slot_end(now) <= then
        now = then
    assert opened >= closed > 0


@pytest.mark.parametrize(
    ("day", "opened", "closed"),
    [
        ("2026-10-30", "2026-10-29 22:00", "2026-10-30 21:00"),  # Europe went back on the 25th, America did not
        ("2026-11-02", "2026-11-01 23:00", "2026-11-02 22:00"),  # America went back that Sunday
        ("2027-03-12", "2027-03-11 23:00", "2027-03-12 22:00"),
        ("2027-03-15", "2027-03-14 22:00", "2027-03-15 21:00"),  # America went forward that Sunday
        ("2027-03-25", "2027-03-24 22:00", "2027-03-25 21:00"),  # Europe still had not
        ("2027-03-29", "2027-03-28 22:00", "2027-03-29 21:00"),  # Europe followed
    ],
)
def test_f48_sessions_follow_chicago_when_clocks_change(day, opened, closed):
    clock, within = clockwork(), int(utc(opened).as_unit("ns").value)

    assert clock.in_session(within)
    assert not clock.in_session(within - 1)
    assert clock.session_close(within) == utc(closed).as_unit("ns").value
    assert not clock.in_session(clock.session_close(within))
    assert str(np.datetime64(clock.trading_day(within), "D")) == day
    slots = clock.slots_between(within - 1, clock.session_close(within))
    assert len(slots) == 276
    assert slots[-1] == clock.session_close(within) - 5 * MINUTE
    assert sum(bool(clock.slot(slot)["flat"]) for slot in slots) == 2


def test_f48_a_market_that_never_closes_has_days_of_23_and_25_hours():
    clock = clockwork(ALWAYS, HOUR)
    counts: dict[str, int] = {}
    for start in clock.slots_between(chicago("2026-10-29 16:00"), chicago("2026-11-04 16:00")):
        day = str(np.datetime64(clock.trading_day(start), "D"))
        counts[day] = counts.get(day, 0) + 1
    assert counts["2026-11-01"] == 25
    assert counts["2026-10-31"] == counts["2026-11-02"] == 24
    starts = clock.slots_between(chicago("2027-03-13 16:00"), chicago("2027-03-14 17:00"))
    assert [clock.trading_day(start) for start in starts].count(clock.trading_day(starts[-1])) == 23


def test_f52_the_trading_day_begins_at_17_00_chicago_to_the_second():
    clock = clockwork()
    for day in ("2026-10-30", "2026-11-01", "2026-11-02", "2027-03-12", "2027-03-14", "2027-03-15", "2026-07-01"):
        evening = chicago(f"{day} 17:00")
        days = [clock.trading_day(evening + shift) for shift in (-SECOND, -1, 0, SECOND)]
        named = int(np.datetime64(day, "D").astype(np.int64))
        assert days == [named, named, named + 1, named + 1]
        assert clock.trading_day(evening - SECOND) == named  # backwards too


@pytest.mark.proof
def test_f48_the_trading_day_and_the_bars_of_every_day_of_twenty_years():
    clock, calendar = clockwork(), Calendar(MNQ)
    table = calendar.sessions(utc(YEARS[0]), utc(YEARS[1]))
    days = table.index.to_numpy().astype("M8[D]").astype(np.int64)
    for day, opened, closed, paused, resumed in zip(
        days.tolist(), *(table[name] for name in ("open", "close", "break_start", "break_end")), strict=True
    ):
        opens, closes = opened.as_unit("ns").value, closed.as_unit("ns").value
        length = (closes - opens) / MINUTE - (0 if pd.isna(paused) else (resumed - paused) / pd.Timedelta("1min"))
        before, evening = (
            pd.Timestamp(date, unit="D").replace(hour=17).tz_localize("America/Chicago").as_unit("ns").value
            for date in (day - 1, day)
        )
        assert len(clock.slots_between(opens - 1, closes)) == length // 5
        assert opens == before or opened.year < 2013
        assert clock.flat_from(opens) <= closes - 10 * MINUTE
        assert {clock.trading_day(time) for time in (max(opens, before), closes - 1)} == {day}
        assert [clock.trading_day(evening + shift) for shift in (-SECOND, SECOND)] == [day, day + 1]


def test_the_last_slot_before_a_break_or_a_close_is_shorter():
    clock = clockwork(size=pd.Timedelta("4h"))
    evening, broken = chicago("2026-11-23 17:00"), clockwork(size=HOUR)

    assert clock.slot_end(evening + 20 * 60 * MINUTE) == evening + 23 * 60 * MINUTE
    assert told(broken.slot_end(chicago("2021-06-24 15:00"))) == "2021-06-24 15:15"
    assert told(broken.next_slot(chicago("2021-06-24 15:00"))) == "2021-06-24 15:30"
    assert told(broken.slot_end(chicago("2021-06-24 15:30"))) == "2021-06-24 16:00"
    assert not broken.in_session(chicago("2021-06-24 15:20"))
    assert [told(slot) for slot in broken.slots_between(chicago("2021-06-24 14:00"), chicago("2021-06-24 15:30"))] == [
        "2021-06-24 15:00"
    ]


def test_slots_between_are_those_that_began_after_and_have_closed():
    clock, start = clockwork(), chicago("2026-11-27 12:05")

    def count(until):
        return [told(slot) for slot in clock.slots_between(start, chicago(until))]

    assert count("2026-11-27 12:05") == count("2026-11-27 12:14") == []
    assert count("2026-11-27 12:15") == count("2026-11-29 17:04") == ["2026-11-27 12:10"]
    assert count("2026-11-29 17:10") == ["2026-11-27 12:10", "2026-11-29 17:00", "2026-11-29 17:05"]
    assert clock.slots_between(start, start - MINUTE) == []


def test_times_that_are_no_slots():
    clock, odd, saturday = clockwork(), chicago("2026-11-24 15:52"), chicago("2026-11-28 12:00")

    assert [clock.is_slot(time) for time in (odd, saturday, chicago("2026-11-24 15:50"))] == [False, False, True]
    assert told(clock.next_slot(odd)) == "2026-11-24 15:55"
    assert clock.following(odd).tolist()[5:] == (ExitReason.SESSION, 0, 0, 0)
    assert clock.following(odd + 4 * MINUTE).tolist()[5:] == (0, 1, 0, 2)
    assert told(clock.next_slot(saturday)) == "2026-11-29 17:00"
    assert clock.following(saturday)["missed"] == 1
    with pytest.raises(DataError, match="no bar is expected"):
        clock.slot(odd)


def test_a_record_is_the_callers_own():
    clock, start = clockwork(), chicago("2026-11-24 10:00")
    clock.following(start)["flat"] = 9
    clock.slot(start)["late"] = 9

    assert clock.following(start)["flat"] == clock.slot(start)["late"] == 0


@pytest.mark.parametrize(
    ("code", "year", "when"),
    [
        ("MNQM4", 2024, "2024-06-16 17:00"),
        ("MNQZ6", 2026, "2026-12-13 17:00"),
        ("MNQM7", 2027, "2027-06-13 17:00"),  # its third Friday is a holiday: long enough before in any case
        ("MNQZ2026", 1990, "2026-12-13 17:00"),
    ],
)
def test_f51_rolls_are_known_by_rule(code, year, when):
    assert told(next_roll(code, year, Calendar(MNQ))) == when


def test_f51_where_no_rule_says_so_a_roll_is_not_known_beforehand():
    assert next_roll("MNQM4", 2024, Calendar(attrs.evolve(MNQ, roll="volume"))) is None
    assert next_roll("GCM4", 2024, Calendar(GOLD)) is None
    assert clockwork(flat_by_close=False).flat_from(chicago("2026-11-24 10:00")) is None


def test_f51_before_a_roll_a_position_is_flat_even_where_sessions_are_held_through():
    clock = clockwork(rolls=[next_roll("MNQZ6", 2026, Calendar(MNQ))], flat_by_close=False)

    for now in ("2026-11-24 10:00", "2026-12-11 15:55"):
        assert told(clock.flat_from(chicago(now))) == "2026-12-11 15:50"
    assert clock.flat_from(chicago("2026-12-13 17:00")) is None
    assert [clock.following(chicago(f"2026-12-11 {time}"))["flat"] for time in ("15:40", "15:45", "15:50")] == [0, 6, 6]
    last = clock.following(chicago("2026-12-11 15:55"))
    assert (last["flat"], last["missed"], last["rolled"]) == (0, 1, 1)


def test_a_roll_shows_in_the_first_slot_after_it():
    clock = clockwork(rolls=[chicago("2026-11-28 12:00"), chicago("2026-11-24 10:01")])

    assert [told(roll) for roll in clock.rolls] == ["2026-11-24 10:05", "2026-11-29 17:00"]


def test_asking_for_the_next_slot_costs_little():
    clock, start = clockwork(no_entry_after="14:00"), chicago("2026-11-24 10:00")
    clock.following(start)
    seconds = min(timeit.repeat(lambda: clock.following(start), number=2_000, repeat=5)) / 2_000

    assert seconds < 100e-6  # 2 to 8 us on a machine that does nothing else


TABLE = """
import json, sys
import pandas as pd
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue
from mnqcore.strategy.settings import Session
from mnqcore.trading.clockwork import Clockwork, next_roll

MNQ = catalogue()["MNQ"]
calendar = Calendar(MNQ)
rolls = [next_roll(code, 2026, calendar) for code in ("MNQZ6", "MNQH7")]
clock = Clockwork(calendar, Session(no_entry_after="14:30"), pd.Timedelta("5min"), rolls)
rows = []
for first, last in (("2026-10-23", "2026-11-03"), ("2026-11-25", "2026-11-30"), ("2026-12-11", "2026-12-28"),
                    ("2027-03-11", "2027-03-16")):
    start, end = (pd.Timestamp(day, tz="UTC").as_unit("ns").value for day in (first, last))
    while start < end:
        start = clock.next_slot(start)
        rows.append([start, clock.slot_end(start), clock.trading_day(start), clock.flat_from(start),
                     *clock.following(start).tolist()])
print(json.dumps(rows))
"""


def table(**environ):
    code = [sys.executable, "-c", TABLE]
    done = subprocess.run(code, env={**os.environ, **environ}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_f66_host_zone_and_locale_change_nothing():
    places = [
        {"TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
        {"TZ": "America/Chicago", "LANG": "C"},
        {"TZ": "UTC", "PYTHONUTF8": "0"},
    ]
    tokyo, chicagos, utcs = (table(**place) for place in places)

    assert tokyo == chicagos == utcs
    assert len(utcs) > 5_000
