"""The made bars: shaped like real ones, repeatable, and of the nature that their market claims."""

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from mnqcore import BarRequest, Calendar, DataError
from mnqcore.market.bars import validate
from mnqcore.market.checks import check
from mnqcore.market.instruments import catalogue
from mnqcore.market.rolls import stitch
from mnqplugins.data.synthetic import Synthetic

FIVE = pd.Timedelta("5min")
MNQ = catalogue()["MNQ"]


def request(instrument="MNQ", bar_size=FIVE, **more):
    return BarRequest(instrument=catalogue()[instrument], bar_size=bar_size, **more)


def lead(bars, instrument=MNQ):
    return stitch(bars, Calendar(instrument)).bars


@pytest.fixture(scope="module")
def year():
    return Synthetic(days=250, market="no-edge", seed=3).bars(request())


@hypothesis.settings(max_examples=12, deadline=None)
@hypothesis.given(
    market=st.sampled_from(["trend", "mean-revert", "no-edge", "regimes"]),
    instrument=st.sampled_from(["MNQ", "6E", "M2K", "EURUSD"]),
    size=st.sampled_from(["1min", "5min", "1h"]),
    seed=st.integers(0, 2**40),
    volatility=st.floats(0.01, 2),
    edge=st.floats(0, 5),
)
def test_any_setting_gives_bars_without_a_fatal_finding(market, instrument, size, seed, volatility, edge):
    asked = request(instrument, pd.Timedelta(size))
    made = Synthetic(days=12, market=market, seed=seed, volatility=volatility, edge=edge).bars(asked)

    bars = validate(made)
    findings = check(bars, asked.instrument, Calendar(asked.instrument), asked.bar_size)

    assert not findings.fatal
    assert findings["off-tick"].count == 0
    assert findings["outside"].count == 0


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    first, again = (Synthetic(days=20, seed=5).bars(request()) for _ in range(2))
    other = Synthetic(days=20, seed=6).bars(request())

    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert not first["close"].head(500).reset_index(drop=True).equals(other["close"].head(500).reset_index(drop=True))


def test_a_period_is_a_cut_of_the_whole():
    source = Synthetic(days=20)
    whole = source.bars(request())
    start, end = pd.Timestamp("2024-01-10 15:00", tz="UTC"), pd.Timestamp("2024-01-17", tz="UTC")

    cut = source.bars(request(start=start, end=end))

    pd.testing.assert_frame_equal(cut, whole[(whole.index >= start) & (whole.index < end)])


def test_without_flaws_every_bar_of_the_calendar_is_there():
    bars = Synthetic(days=30, missing=0.0, holes=0.0).bars(request())
    calendar = Calendar(MNQ)
    sessions = calendar.sessions(bars.index[0], bars.index[-1])

    expected = calendar.bar_starts(sessions["open"].iloc[0], sessions["close"].iloc[-1], FIVE)

    assert len(sessions) == 30
    assert list(bars.index.unique()) == list(expected[expected < sessions["close"].iloc[-1]])


def test_bars_are_missing_singly_and_in_holes(year):
    expected = Calendar(MNQ).bar_starts(year.index[0], year.index[-1], FIVE)
    gone = ~expected.isin(year.index)
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], gone.astype(int), [0]]))))[::2]

    assert 0.003 < gone.mean() < 0.02
    assert runs.max() >= 24  # two hours
    assert np.median(runs) == 1


def test_the_first_bar_after_a_halt_has_no_volume_and_all_others_have():
    bars = Synthetic(days=20, missing=0.0, holes=0.0).bars(request("EURUSD"))
    after_halt = bars.index.to_series().diff().gt(FIVE).to_numpy()

    assert after_halt.sum() == 19
    assert (bars["volume"][after_halt] == 0).all()
    assert (bars["high"] == bars["low"])[after_halt].all()
    assert (bars["volume"][~after_halt] >= 1).all()


def test_contracts_overlap_before_each_roll_at_the_carry(year):
    joined = stitch(year, Calendar(MNQ))

    assert [(roll.old, roll.new) for roll in joined.rolls] == [
        ("MNQH24", "MNQM24"),
        ("MNQM24", "MNQU24"),
        ("MNQU24", "MNQZ24"),
        ("MNQZ24", "MNQH25"),
    ]
    assert all(roll.overlap for roll in joined.rolls)
    assert [roll.ratio for roll in joined.rolls] == pytest.approx([np.exp(-0.01)] * 4, abs=1e-4)
    assert not np.isnan(joined.carry_open).any()


def test_volume_moves_to_the_next_contract_about_the_day_of_the_roll(year):
    day = pd.Series(Calendar(MNQ).locate(year.index).day, index=year.index)
    volume = year.groupby([day, "contract"])["volume"].sum().unstack()
    ahead = volume[volume["MNQM24"] > volume["MNQH24"]].index[0]

    assert ahead == pd.Timestamp("2024-03-11")  # four trading days before Friday the 15th


def test_an_instrument_without_expiry_has_no_contracts():
    assert "contract" not in Synthetic(days=5).bars(request("EURUSD"))


def test_the_cash_session_alone_can_be_asked_for():
    bars = Synthetic(days=10).bars(request(session="rth"))
    local = pd.DatetimeIndex(bars.index).tz_convert("America/Chicago")

    assert str(local.min().time()) >= "08:30:00"
    assert (local.strftime("%H:%M") < "15:00").all()
    assert (local.strftime("%H:%M") >= "08:30").all()


def test_the_yearly_volatility_is_the_one_asked_for():
    daily = [
        np.log(bars["close"].groupby(Calendar(MNQ).locate(bars.index).day).last()).diff().std()
        for seed in range(4)
        if len(bars := lead(Synthetic(market="no-edge", days=250, seed=seed, carry=0.0).bars(request())))
    ]

    assert np.mean(daily) * np.sqrt(252) == pytest.approx(0.20, rel=0.15)


def test_the_cash_open_is_the_wildest_and_the_night_the_calmest(year):
    bars = lead(year)
    span = np.log(bars["high"] / bars["low"]).groupby(bars.index.tz_convert("America/Chicago").hour).mean()

    assert span[9] > 1.8 * span[1]
    assert span[14] > span[12] > span[1]


def variance_ratio(market, bars=100, **more):
    """Return the variance of `bars`-bar returns over `bars` times that of one bar's, pooled over seeds."""
    long, short = [], []
    for seed in range(6):
        made = Synthetic(market=market, days=120, seed=seed, missing=0.0, holes=0.0, **more).bars(request("EURUSD"))
        log = np.log(made["close"].to_numpy())
        long.append((log[bars:] - log[:-bars]).var())
        short.append(np.diff(log).var())
    return np.mean(long) / np.mean(short) / bars


def test_each_market_is_what_it_says():
    assert variance_ratio("trend") > 1.5
    assert variance_ratio("mean-revert") < 0.7
    assert variance_ratio("no-edge") == pytest.approx(1, abs=0.12)
    assert variance_ratio("trend", edge=0.0) == pytest.approx(1, abs=0.12)


def test_a_trend_runs_both_ways():
    bars = lead(Synthetic(market="trend", days=100, edge=2.0).bars(request()))
    weekly = np.log(bars["close"]).diff(300).dropna()

    assert 0.25 < (weekly > 0).mean() < 0.75


def test_no_edge_has_no_drift():
    totals = []
    for seed in range(30):
        close = Synthetic(market="no-edge", days=60, seed=seed).bars(request("EURUSD", pd.Timedelta("1h")))["close"]
        totals.append(close.iloc[-1] / close.iloc[0] - 1)

    assert abs(np.mean(totals)) < 3 * np.std(totals) / np.sqrt(len(totals))


def test_regimes_switch_between_calm_and_rough():
    bars = lead(Synthetic(market="regimes", days=120, seed=1).bars(request()))
    other = lead(Synthetic(market="no-edge", days=120, seed=1).bars(request()))

    assert not bars["close"].equals(other["close"])
    assert 0.5 < variance_ratio("regimes") < 2.5


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"duration": "1 Y"}, "no end to count back from"),
        ({"start": pd.Timestamp("2030-01-01", tz="UTC")}, "no synthetic bar"),
    ],
)
def test_what_it_cannot_give_is_refused(more, said):
    with pytest.raises(DataError, match=said):
        Synthetic(days=5).bars(request(**more))


@pytest.mark.parametrize(
    "wrong", [{"start": "2024-13-01"}, {"start": "1850-01-02"}, {"market": "bull"}, {"volatility": 0.0}, {"days": 0}]
)
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Synthetic(**wrong)


def test_it_says_that_it_is_synthetic():
    assert Synthetic.synthetic is True
