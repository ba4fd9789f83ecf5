"""Bars: their shape, their size, what can be wrong with them, and larger bars from smaller ones."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.errors import DataError
from mnqcore.market.bars import bar_size, check, native_size, resample, validate
from mnqcore.market.calendar import Calendar
from mnqcore.market.instruments import catalogue

MNQ = catalogue()["MNQ"]
FULL = Calendar(MNQ)
FIVE = pd.Timedelta("5min")
FIRST = pd.Timestamp("2025-06-16 22:00", tz="UTC")


def walk(n=600, start=FIRST, size=FIVE, seed=7):
    """Sound bars on the tick grid from `start` on, in trading hours."""
    generator = np.random.default_rng(seed)
    times = FULL.bar_starts(start, start + pd.Timedelta(days=60), size)[:n]
    close = 20_000 + np.cumsum(generator.integers(-8, 9, n)) * 0.25
    opened = close + generator.integers(-4, 5, n) * 0.25
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) + 0.5,
        "low": np.minimum(opened, close) - 0.5,
        "close": close,
        "volume": generator.integers(1, 100, n).astype(float),
    }
    return pd.DataFrame(columns, index=times)


def chicago(bars):
    """The clock in Chicago at which each bar starts."""
    return pd.DatetimeIndex(bars.index).tz_convert("America/Chicago").strftime("%H:%M").tolist()


def found(bars, **options):
    return check(bars, MNQ, options.get("calendar", FULL), options.get("size", FIVE))


def changed(bars, row, **values):
    bars = bars.copy()
    for name, value in values.items():
        bars.iloc[row, bars.columns.get_loc(name)] = value
    return bars


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5 min", "5min"), ("5 mins", "5min"), ("5min", "5min"), ("1 hour", "1h"), ("30 secs", "30s"), ("15m", "15min"),
        ("1 day", "1D"), (" 2 Hours ", "2h"), ("1 minute", "1min"),
    ],
)  # fmt: skip
def test_bar_sizes_are_read(text, size):
    assert bar_size(text) == pd.Timedelta(size)


@pytest.mark.parametrize("text", ["", "5", "min", "0 min", "2 days", "-5 min", "5 fortnights", "1.5 hours", "5 min 3"])
def test_what_is_no_bar_size_is_refused(text):
    with pytest.raises(DataError, match="not a bar size"):
        bar_size(text)


def test_sound_bars_have_no_findings():
    findings = found(walk())

    assert (findings.bars, findings.expected) == (600, 600)
    assert findings.fatal == findings.warnings == ()
    assert findings.lines()[-1] == "no faults found"


@pytest.mark.parametrize(
    ("kind", "fatal", "spoil"),
    [
        ("disorder", True, lambda bars: bars.iloc[[*range(50), 60, *range(50, 60), *range(61, 600)]]),
        ("duplicates", True, lambda bars: bars.iloc[[*range(50), 49, *range(50, 600)]]),
        ("nan", True, lambda bars: changed(bars, 50, close=np.nan)),
        ("nan", True, lambda bars: changed(bars, 50, high=np.inf)),
        ("nan", True, lambda bars: changed(bars, 50, volume=np.nan)),
        ("range", True, lambda bars: changed(bars, 50, high=bars["low"].iloc[50] - 1)),
        ("range", True, lambda bars: changed(bars, 50, open=bars["high"].iloc[50] + 1)),
        ("range", True, lambda bars: changed(bars, 50, close=bars["low"].iloc[50] - 1)),
        ("negative", True, lambda bars: changed(bars, 50, low=-1.0)),
        ("negative", True, lambda bars: changed(bars, 50, volume=-1.0)),
        ("off-tick", False, lambda bars: changed(bars, 50, high=bars["high"].iloc[50] + 0.1)),
        ("zero-volume", False, lambda bars: changed(bars, 50, volume=0.0)),
        ("holes", False, lambda bars: bars.drop(bars.index[50])),
    ],
)
def test_each_fault_is_counted_with_its_first_example(kind, fatal, spoil):
    whole = walk()

    findings = found(spoil(whole))

    assert findings[kind].count == 1
    assert findings[kind].fatal is fatal
    where = whole.index[49] if kind == "duplicates" else whole.index[50]
    assert findings[kind].examples == (f"{where:%Y-%m-%d %H:%M}",)
    assert [finding.kind for finding in (*findings.fatal, *findings.warnings)] == [kind]


def test_bars_outside_trading_hours_are_counted():
    bars = walk(n=300)
    late = bars.iloc[[275]].set_axis(bars.index[[275]] + FIVE)  # in the daily break

    findings = found(pd.concat([bars, late]).sort_index())

    assert findings["outside"].examples == ("2025-06-17 21:00",)
    assert findings.fatal == ()


def test_a_bad_price_that_stays_for_ten_bars_is_a_spike_too():
    bars = walk()
    spiked = bars.copy()
    prices = ["open", "high", "low", "close"]
    spiked.iloc[50:60, [bars.columns.get_loc(name) for name in prices]] /= 10

    assert found(spiked)["spikes"].count == 10
    assert found(bars)["spikes"].count == 0


def test_a_close_that_leaps_and_comes_back_is_a_spike_and_a_fall_is_none():
    bars = walk()
    spiked = changed(bars, 50, close=21_000.0, high=21_000.0)
    fallen = bars.copy()
    fallen.iloc[50:, :4] -= 1_000.0

    assert found(spiked)["spikes"].examples == (f"{bars.index[50]:%Y-%m-%d %H:%M}",)
    assert found(fallen)["spikes"].count == 0


def test_holes_tell_the_largest():
    bars = walk()

    findings = found(bars.drop([*bars.index[50:53], bars.index[100], *bars.index[200:212]]))

    assert findings["holes"].count == 16
    assert findings["holes"].longest == f"3 runs, the longest of 12 from {bars.index[200]:%Y-%m-%d %H:%M}"


def test_contracts_are_checked_apart():
    near, far = walk(), walk() + 500.0
    both = pd.concat([near.assign(contract="MNQU25"), far.assign(contract="MNQZ25")]).sort_index(kind="stable")

    findings = found(both)

    assert findings.fatal == findings.warnings == ()
    assert findings.contracts == ("MNQU25", "MNQZ25")
    assert found(both.drop(columns="contract"))["duplicates"].count == 600


def test_findings_print_as_short_ascii_lines_and_as_json():
    bars = changed(walk(), 50, close=np.nan).iloc[[*range(300), *range(320, 600)]]
    many = bars.assign(contract=[f"MNQ{year:04d}12" for year in range(2000, 2000 + len(bars))])
    findings = found(many)

    lines, record = findings.lines(), json.loads(json.dumps(findings.as_dict()))

    assert all(len(line) <= 80 and line.isascii() for line in lines)
    assert any(line.startswith("FATAL") for line in lines)
    assert record["findings"]["holes"]["count"] == 20
    assert record["fatal"] is True


def test_the_bar_size_is_read_off_the_times():
    for size in ("1min", "5min", "15min", "1h", "1D"):
        bars = walk(n=40, size=pd.Timedelta(size))
        assert native_size(bars.drop(bars.index[[3, 17]]), FULL) == pd.Timedelta(size)


def test_hourly_bars_are_told_in_spite_of_the_afternoon_break():
    bars = walk(n=200, start=pd.Timestamp("2020-06-15 22:00", tz="UTC"), size=pd.Timedelta("1h"))

    assert native_size(bars, FULL) == pd.Timedelta("1h")


def test_a_single_bar_has_no_size():
    with pytest.raises(DataError, match="--bar-size"):
        native_size(walk(n=1), FULL)


def test_larger_bars_by_hand():
    index = pd.DatetimeIndex(["2025-06-16 22:00", "2025-06-16 22:05", "2025-06-16 22:10", "2025-06-16 22:15"], tz="UTC")
    bars = pd.DataFrame(
        {
            "open": [10.0, 11.0, 12.0, 13.0],
            "high": [15.0, 19.0, 14.0, 16.0],
            "low": [9.0, 8.0, 11.0, 12.0],
            "close": [11.0, 12.0, 13.0, 14.0],
            "volume": [1.0, 2.0, 3.0, 4.0],
            "spread": [0.5, 0.25, 0.75, 1.0],
        },
        index=index.as_unit("ns").rename("time"),
    )

    larger = resample(bars, pd.Timedelta("15min"), FULL, {"spread": "mean"})

    assert larger.index.tolist() == [index[0], index[3]]
    assert larger.iloc[0].tolist() == [10.0, 19.0, 8.0, 13.0, 6.0, 0.5]
    assert larger.iloc[1].tolist() == [13.0, 16.0, 12.0, 14.0, 4.0, 1.0]  # incomplete, and kept
    assert validate(larger) is larger


def test_larger_bars_start_at_the_open_and_end_with_the_session():
    bars = walk(n=276 * 2)

    larger = resample(bars, pd.Timedelta("4h"), FULL)

    local = chicago(larger)
    assert local == ["17:00", "21:00", "01:00", "05:00", "09:00", "13:00"] * 2
    assert larger["volume"].iloc[5] == bars["volume"].iloc[240:276].sum()  # 13:00 to 16:00: three hours


def test_larger_bars_do_not_cross_the_afternoon_break():
    bars = walk(n=273, start=pd.Timestamp("2020-06-16 22:00", tz="UTC"))

    larger = resample(bars, pd.Timedelta("1h"), FULL)

    local = chicago(larger)
    assert local[-3:] == ["14:00", "15:00", "15:30"]
    assert larger["volume"].iloc[-2] == bars["volume"].iloc[-9:-6].sum()


def test_the_cash_calendar_leaves_its_own_bars_alone():
    larger = resample(walk(n=276), pd.Timedelta("1h"), Calendar(MNQ, rth=True))

    local = chicago(larger)
    assert local == ["08:30", "09:30", "10:30", "11:30", "12:30", "13:30", "14:30"]


def test_contracts_are_resampled_apart():
    near, far = walk(n=60), walk(n=60, seed=8)
    both = pd.concat([near.assign(contract="MNQU25"), far.assign(contract="MNQZ25")]).sort_index(kind="stable")

    larger = resample(both, pd.Timedelta("15min"), FULL)

    for code, alone in (("MNQU25", near), ("MNQZ25", far)):
        of_one = larger[larger["contract"] == code].drop(columns="contract")
        pd.testing.assert_frame_equal(of_one, resample(alone, pd.Timedelta("15min"), FULL), check_freq=False)
    validate(larger)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["10min", "15min", "1h", "4h", "1D"]))
def test_resampling_keeps_extremes_and_volume(seed, size):
    generator = np.random.default_rng(seed)
    bars = walk(n=900, seed=seed)
    bars = bars[generator.random(900) < 0.9]
    sessions = FULL.locate(pd.DatetimeIndex(bars.index)).session

    larger = resample(bars, pd.Timedelta(size), FULL)
    of = FULL.locate(pd.DatetimeIndex(larger.index)).session

    by, by_larger = bars.groupby(sessions), larger.groupby(of)
    pd.testing.assert_series_equal(by["volume"].sum(), by_larger["volume"].sum())
    pd.testing.assert_series_equal(by["high"].max(), by_larger["high"].max())
    pd.testing.assert_series_equal(by["low"].min(), by_larger["low"].min())
    pd.testing.assert_series_equal(by["open"].first(), by_larger["open"].first())
    pd.testing.assert_series_equal(by["close"].last(), by_larger["close"].last())
    assert set(larger.index) <= set(FULL.bar_starts(bars.index[0].normalize(), bars.index[-1], pd.Timedelta(size)))


def test_resampling_no_bars_gives_none():
    assert resample(walk().iloc[:0], pd.Timedelta("1h"), FULL).empty


def test_a_column_of_which_nothing_is_said_is_not_resampled():
    with pytest.raises(DataError, match="how to resample spread"):
        resample(walk().assign(spread=1.0), pd.Timedelta("1h"), FULL)
    with pytest.raises(DataError, match="no way to resample is called 'median'"):
        resample(walk().assign(spread=1.0), pd.Timedelta("1h"), FULL, {"spread": "median"})


def test_times_become_nanoseconds_and_nothing_else_changes():
    bars = walk()

    coarse = bars.set_axis(bars.index.as_unit("us"))

    pd.testing.assert_frame_equal(validate(coarse), bars)
    assert validate(bars) is bars


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda bars: bars.reset_index(drop=True), "not times"),
        (lambda bars: bars.rename_axis("date"), "named 'date', not 'time'"),
        (lambda bars: bars.tz_localize(None), "no zone, not UTC"),
        (lambda bars: bars.tz_convert("America/Chicago"), "zone America/Chicago, not UTC"),
        (lambda bars: bars.iloc[::-1], "not in order"),
        (lambda bars: bars.iloc[[0, 0, 1]], "a time occurs twice"),
        (lambda bars: bars.iloc[[0, 0, 1]].assign(contract="MNQU25"), "a time occurs twice in a contract"),
        (lambda bars: bars.drop(columns=["high", "volume"]), "no column high, volume"),
        (lambda bars: bars.astype({"close": "float32"}), "close is float32, not float64"),
        (lambda bars: bars.astype({"volume": "int64"}), "volume is int64"),
        (lambda bars: bars.assign(note="x"), "note is str"),
        (lambda bars: changed(bars, 3, low=np.nan), "low has values that are not finite"),
    ],
)
def test_a_wrong_shape_is_named(spoil, says):
    with pytest.raises(DataError, match=says):
        validate(spoil(walk()))
