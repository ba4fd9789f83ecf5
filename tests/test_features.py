"""Feature sets: causal, honest about their warm-up, finite on hard data, and equal to figures reckoned by hand."""

import itertools
import logging
import math

import attrs
import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from mnqcore.causality import check, warm_up
from mnqcore.market.rolls import short
from mnqplugins.features.clock import Clock
from mnqplugins.features.returns import Returns
from mnqplugins.features.technical import INDICATORS, Technical

EVERY = tuple(known.example for known in INDICATORS.values())
SETS = [Technical(columns=EVERY), Technical(), Returns(), Returns(horizons=(1, 50)), Clock()]


@pytest.fixture(scope="module")
def view(make_view):
    return make_view(days=12, start="2024-03-04", missing=0.02, holes=20.0)  # holds a roll, holes, a change to summer


def scaled(view, factor):
    prices = ["open", "high", "low", "close"]
    return attrs.evolve(view, bars=view.bars.assign(**{name: view.bars[name] * factor for name in prices}))


@pytest.mark.parametrize("features", SETS, ids=lambda features: type(features).__name__)
def test_no_look_ahead_honest_warm_up_and_no_hand_on_the_bars(features, view):
    assert check(features.compute, view, features.warmup) == []


@pytest.mark.parametrize("features", SETS, ids=lambda features: type(features).__name__)
def test_every_value_after_the_warm_up_is_finite_over_rolls_holes_and_zero_volume(features, view):
    assert (view.factor != 1).any()
    assert (view.bars["volume"] == 0).any()

    frame = features.compute(view)

    assert frame.index.equals(view.bars.index)
    assert (frame.dtypes == "float64").all()
    assert np.isfinite(frame.iloc[features.warmup :].to_numpy()).all()


@pytest.mark.parametrize("features", SETS, ids=lambda features: type(features).__name__)
def test_later_bars_leave_earlier_rows_equal_to_the_last_bit(features, view):
    whole = features.compute(view)

    for end in (900, 1501, 2222):
        part = features.compute(attrs.evolve(view, bars=view.bars.iloc[:end], factor=view.factor.iloc[:end]))
        pd.testing.assert_frame_equal(part, whole.iloc[:end], check_exact=True)


@pytest.mark.parametrize("features", SETS, ids=lambda features: type(features).__name__)
def test_a_market_that_never_moves_still_gives_finite_values(features, view):
    still = view.bars.assign(**dict.fromkeys(["open", "high", "low", "close"], 20_000.0), volume=0.0)

    frame = features.compute(attrs.evolve(view, bars=still))

    assert np.isfinite(frame.iloc[features.warmup :].to_numpy()).all()


@pytest.mark.parametrize("features", SETS, ids=lambda features: type(features).__name__)
def test_nothing_depends_on_the_level_of_prices(features, view):
    pd.testing.assert_frame_equal(features.compute(view), features.compute(scaled(view, 4.0)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("features", SETS, ids=lambda features: type(features).__name__)
@pytest.mark.parametrize("bars", [1, 2, 15])
def test_a_short_history_is_nan_not_an_error(features, bars, view, caplog):
    short = attrs.evolve(view, bars=view.bars.iloc[:bars], factor=view.factor.iloc[:bars])
    with caplog.at_level(logging.WARNING):
        frame = features.compute(short)

    assert len(frame) == bars
    assert list(frame.columns) == list(features.compute(view).columns)
    assert not caplog.records


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    name=st.sampled_from([name for name in INDICATORS if name != "vwap_dist"]),
    periods=st.lists(st.integers(2, 40), min_size=3, max_size=3),
)
def test_the_warm_up_holds_for_any_period(name, periods, view):
    column = "_".join([name, *map(str, periods[: INDICATORS[name].periods])])
    features = Technical(columns=(column,))

    assert warm_up(features.compute, view, features.warmup) == []


def test_the_warm_up_is_not_much_longer_than_needed(view):
    for column in ("rsi_14", "ema_dist_50", "adx_14", "atr_14"):
        features = Technical(columns=(column,))
        assert warm_up(features.compute, view, features.warmup // 3), column


@pytest.fixture(scope="module")
def bars(view):
    return view.bars.iloc[:1200]


@pytest.fixture(scope="module")
def column(view):
    small = attrs.evolve(view, bars=view.bars.iloc[:1200], factor=view.factor.iloc[:1200])
    return lambda name: Technical(columns=(name,)).compute(small)[name].to_numpy()


def wilder(values, period):
    average = sum(values[:period]) / period
    for value in values[period:]:
        average += (value - average) / period
    return average


def true_ranges(bars):
    rows = list(zip(bars["high"], bars["low"], bars["close"], strict=True))
    return [max(h, c0) - min(low, c0) for (_, _, c0), (h, low, _) in itertools.pairwise(rows)]


def test_rsi(bars, column):
    moves = np.diff(bars["close"])
    up, down = (wilder(list(part), 14) for part in (moves.clip(0), (-moves).clip(0)))

    assert column("rsi_14")[-1] == pytest.approx(100 * up / (up + down))


def test_atr(bars, column):
    expected = wilder(true_ranges(bars), 14) / bars["close"].iloc[-1]

    assert column("atr_14")[-1] == pytest.approx(expected)


def test_ema_dist(bars, column):
    close = bars["close"].to_numpy()
    average = close[:50].mean()
    for price in close[50:]:
        average += (price - average) * 2 / 51

    assert column("ema_dist_50")[-1] == pytest.approx(close[-1] / average - 1)


def test_macd(bars, column):
    def averages(values, period):
        made = [np.mean(values[:period])]
        for value in values[period:]:
            made.append(made[-1] + (value - made[-1]) * 2 / (period + 1))
        return np.array(made)

    close = bars["close"].to_numpy()
    line = averages(close, 12)[14:] - averages(close, 26)
    expected = (line[-1] - averages(line, 9)[-1]) / close[-1]

    assert column("macd_12_26_9")[-1] == pytest.approx(expected)


def test_adx(bars, column):
    up, down = np.diff(bars["high"]), -np.diff(bars["low"])
    plus, minus = np.where((up > down) & (up > 0), up, 0), np.where((down > up) & (down > 0), down, 0)
    ranges = true_ranges(bars)
    index = []
    for end in range(200, len(ranges) + 1):
        p, m = (wilder(list(part[:end]), 14) / wilder(ranges[:end], 14) for part in (plus, minus))
        index.append(100 * abs(p - m) / (p + m))

    assert column("adx_14")[-1] == pytest.approx(wilder(index, 14), rel=1e-6)


def test_bollinger(bars, column):
    last = bars["close"].to_numpy()[-20:]

    assert column("bb_pos_20")[-1] == pytest.approx((last[-1] - last.mean()) / (2 * last.std()))
    assert column("bb_width_20")[-1] == pytest.approx(4 * last.std() / last.mean())


def test_stoch(bars, column):
    def fast(end):
        window = bars.iloc[end - 14 : end]
        low, high = window["low"].min(), window["high"].max()
        return 100 * (window["close"].iloc[-1] - low) / (high - low)

    assert column("stoch_14")[-1] == pytest.approx(np.mean([fast(len(bars) - back) for back in range(3)]))


def test_obv_chg(bars, column):
    signed = np.sign(np.diff(bars["close"])) * bars["volume"].to_numpy()[1:]

    assert column("obv_chg_20")[-1] == pytest.approx(signed[-20:].sum() / bars["volume"].iloc[-20:].sum())


def test_vwap_starts_anew_at_five_in_the_afternoon_in_chicago(bars, column):
    day = (bars.index.tz_convert("America/Chicago") + pd.Timedelta("7h")).date
    typical = (bars["high"] + bars["low"] + bars["close"]) / 3
    made = column("vwap_dist")
    for row in (300, 700, 1100):
        same = np.arange(len(bars)) <= row
        same &= day == day[row]
        average = (typical * bars["volume"])[same].sum() / bars["volume"][same].sum()
        assert made[row] == pytest.approx(bars["close"].iloc[row] / average - 1)


def test_cci_and_roc_and_mfi(bars, column):
    typical = ((bars["high"] + bars["low"] + bars["close"]) / 3).to_numpy()
    last = typical[-20:]
    flow = np.sign(np.diff(typical))[-14:] * (typical * bars["volume"])[-14:]
    close = bars["close"].to_numpy()

    deviation = np.abs(last - last.mean()).mean()
    assert column("cci_20")[-1] == pytest.approx((last[-1] - last.mean()) / (0.015 * deviation))
    assert column("roc_12")[-1] == pytest.approx(100 * (close[-1] / close[-13] - 1))
    assert column("mfi_14")[-1] == pytest.approx(100 * flow[flow > 0].sum() / np.abs(flow).sum())


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("rsi_14", "rsy_14"), r"no indicator named 'rsy_14'; did you mean 'rsi_14'\?"),
        (("ema_50",), r"did you mean 'ema_dist_50'\?"),
        (("qqq",), r"no indicator named 'qqq'; known: rsi, macd"),
        (("rsi",), "'rsi' must be written like 'rsi_14'"),
        (("macd_12_26",), "'macd_12_26' must be written like 'macd_12_26_9'"),
        (("vwap_dist_5",), "'vwap_dist_5' must be written like 'vwap_dist'"),
        (("rsi_1",), "periods must be at least 2"),
        (("rsi_-14",), "no indicator named 'rsi_-14'"),
        (("RSI_14",), "no indicator named 'RSI_14'"),
        (("rsi_14\n",), "no indicator named"),
        (("",), "no indicator named ''"),
        ((), "at least one indicator"),
        (("rsi_14", "atr_14", "rsi_14"), "'rsi_14' is there twice"),
    ],
)
def test_a_column_that_means_nothing_is_refused_with_a_hint(columns, said):
    with pytest.raises(ValueError, match=said):
        Technical(columns=columns)


def test_vwap_needs_to_know_how_many_bars_a_day_has(make_view):
    minutes = make_view(days=2, bar_size="1min")

    with pytest.raises(ValueError, match="day_bars must be at least 1440"):
        Technical(columns=("vwap_dist",)).compute(minutes)
    assert Technical(columns=("vwap_dist",), day_bars=1440).warmup == 1440
    assert len(Technical(columns=("rsi_14",)).compute(minutes)) == len(minutes.bars)


@pytest.mark.parametrize("column", ["mfi_2", "mfi_14", "cci_2", "cci_20", "adx_14", "rsi_2"])
def test_what_compares_prices_does_not_depend_on_the_rolls_before(column, make_view):
    """Behind a roll prices are no whole ticks; what was equal is equal all the same."""
    view, features = make_view(days=12, volatility=0.0003), Technical(columns=(column,))
    names = ["open", "high", "low", "close"]
    raw = attrs.evolve(view, bars=view.bars.assign(**{name: (view.bars[name] / 25).round() * 25 for name in names}))

    own = features.compute(raw)[column]
    others = [features.compute(scaled(raw, short(ratio)))[column] for ratio in (1.0123, 0.9871, 1.1)]

    assert ((raw.bars["high"] + raw.bars["low"] + raw.bars["close"]).diff() == 0).sum() > 50
    for other in others:
        assert np.abs(own - other).iloc[features.warmup :].max() <= 1e-6 * own.std()


def test_returns_by_hand(view):
    bars = view.bars.iloc[:4].assign(
        open=[100.0, 101.0, 99.0, 104.0], high=[102.0, 103.0, 100.0, 110.0], low=[99.0, 98.0, 98.0, 100.0]
    )
    bars["close"] = [101.0, 99.0, 99.5, 108.0]

    frame = Returns(horizons=(1, 3)).compute(attrs.evolve(view, bars=bars))

    assert list(frame.columns) == ["ret_1", "ret_3", "range", "body"]
    last = [math.log(108 / 99.5), math.log(108 / 101), math.log(110 / 100), math.log(108 / 104)]
    assert frame.iloc[3].tolist() == pytest.approx(last)
    assert frame["ret_3"].isna().tolist() == [True, True, True, False]


def test_a_roll_is_no_return(make_view):
    view = make_view(days=12, start="2024-03-04", volatility=0.01)
    at = int(np.flatnonzero(np.diff(view.factor))[0]) + 1
    raw = view.bars["close"] / view.factor

    jump = Returns(horizons=(1,)).compute(view)["ret_1"].iloc[at]

    assert abs(math.log(raw.iloc[at] / raw.iloc[at - 1])) > 0.008
    assert abs(jump) < 0.002


@pytest.mark.parametrize("horizons", [(), (1, 1), (0,)])
def test_horizons_that_mean_nothing_are_refused(horizons):
    with pytest.raises(ValueError, match="horizons must be"):
        Returns(horizons=horizons)


@pytest.mark.parametrize(
    ("time", "clock", "left", "day"),
    [
        ("2024-01-03 14:25", 8.5, 7.5 / 23, 2),  # 08:30 in Chicago in winter, Wednesday
        ("2024-07-02 13:25", 8.5, 7.5 / 23, 1),  # and in summer, Tuesday
        ("2024-07-03 16:55", 12.0, 0.25 / 19.25, 2),  # early close at 12:15 the day before the holiday
        ("2024-01-03 23:00", 17 + 5 / 60, (23 - 5 / 60) / 23, 3),  # a new trading day, Thursday
        ("2024-01-06 12:00", 6 + 5 / 60, 0.0, 5),  # a Saturday
    ],
)
def test_the_clock_tells_the_time_at_which_a_bar_closes(view, time, clock, left, day):
    index = pd.DatetimeIndex([time], tz="UTC", name="time").as_unit("ns")
    bars = view.bars.iloc[:1].set_axis(index)

    row = Clock().compute(attrs.evolve(view, bars=bars, factor=view.factor.iloc[:1].set_axis(index))).iloc[0]

    daily, weekly = 2 * math.pi * clock / 24, 2 * math.pi * day / 5
    assert row[["time_sin", "time_cos"]].tolist() == pytest.approx([math.sin(daily), math.cos(daily)])
    assert row[["week_sin", "week_cos"]].tolist() == pytest.approx([math.sin(weekly), math.cos(weekly)])
    assert row["to_close"] == pytest.approx(left)
