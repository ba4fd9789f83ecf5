"""Brackets place distances on the tick grid, causally; sizers turn entries into whole contracts."""

import attrs
import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from mnqcore import Entry, Step
from mnqcore.causality import check
from mnqplugins.brackets.atr import Atr
from mnqplugins.brackets.fixed import Fixed as FixedBracket
from mnqplugins.brackets.none import Unprotected
from mnqplugins.rewards.trade_pnl import TradePnl
from mnqplugins.sizers.fixed import Fixed as FixedSizer
from mnqplugins.sizers.fixed_fractional import FixedFractional
from mnqplugins.sizers.kelly import Kelly
from mnqplugins.sizers.volatility import Volatility


@pytest.fixture(scope="module")
def view(make_view):
    return make_view(days=8, start="2024-03-06")  # holds a roll


def entry(m=1, **fields):
    """Return m equal entries of MNQ at 20,000 with a stop of 50 points and $10,000."""
    usual = {
        "side": 1,
        "price": 20_000.0,
        "stop_distance": 50.0,
        "stop_ticks": 200,
        "tick_value": 0.5,
        "point_value": 2.0,
        "equity": 10_000.0,
        "wins": 0,
        "losses": 0,
        "average_win": 0.0,
        "average_loss": 0.0,
        "signal": np.nan,
        "max_contracts": 100,
        "lanes": 0,
    }
    return Entry(**{name: np.full(m, fields.get(name, value)) for name, value in usual.items()})


def test_fixed_is_a_distance_in_raw_price(view):
    assert (FixedBracket().levels(view)["stop"] == 50.0).all()

    levels = FixedBracket(stop_ticks=10, target_ticks=30).levels(view)

    assert levels.index.equals(view.bars.index)
    assert levels.iloc[7].to_dict() == {"stop": 2.5, "target": 7.5}
    assert list(FixedBracket().levels(view).columns) == ["stop"]


def test_none_has_no_stop_and_says_so(view):
    assert Unprotected().levels(view)["stop"].isna().all()
    assert Unprotected.protects is False


def small(view, highs, lows, closes, factor=1.0):
    bars = view.bars.iloc[: len(highs)].assign(open=closes, high=highs, low=lows, close=closes)
    return attrs.evolve(view, bars=bars, factor=pd.Series(factor, index=bars.index))


def test_atr_by_hand(view):
    #                       true ranges:  -    4.0    6.0 (gap up)  3.0 (gap down)
    made = small(view, [100, 102.0, 107.0, 104.0], [98, 98.0, 103.0, 102.0], [99, 101.0, 105.0, 103.0])

    levels = Atr(period=2, stop=1.0, target=1.5, min_ticks=1).levels(made)

    # means 5.0 and 4.5; stop x 1 = 20 and 18 ticks; target x 1.5 = 7.5 and 6.75
    np.testing.assert_array_equal(levels["stop"], [np.nan, np.nan, 5.0, 4.5])
    np.testing.assert_array_equal(levels["target"], [np.nan, np.nan, 7.5, 6.75])


def test_atr_rounds_up_to_whole_ticks_but_not_past_one(view):
    made = small(view, [100.0, 100.0, 100.0], [99.0, 99.0, 99.0], [99.5, 99.5, 99.5])  # true range 1.0 = 4 ticks

    stops = [Atr(period=1, stop=stop, min_ticks=1).levels(made)["stop"].iloc[-1] for stop in (1.0, 1.01, 1.25, 0.1)]

    assert stops == [1.0, 1.25, 1.25, 0.25]
    assert Atr(period=1, stop=0.1 + 0.2, min_ticks=1).levels(made)["stop"].iloc[-1] == 0.5


def test_atr_is_kept_within_its_ticks(view):
    made = small(view, [100.0, 100.0, 150.0], [99.0, 99.9, 99.0], [99.5, 99.95, 120.0])

    levels = Atr(period=1, stop=1.0, min_ticks=8, max_ticks=40).levels(made)

    np.testing.assert_array_equal(levels["stop"], [np.nan, 2.0, 10.0])


def test_atr_is_in_raw_price_whatever_the_factor(view):
    raw = small(view, [100, 102.0, 107.0], [98, 98.0, 103.0], [99, 101.0, 105.0])
    prices = {name: raw.bars[name] * 0.8 for name in ("open", "high", "low", "close")}
    scaled = attrs.evolve(raw, bars=raw.bars.assign(**prices), factor=raw.factor * 0.8)

    pd.testing.assert_frame_equal(Atr(period=2).levels(raw), Atr(period=2).levels(scaled))


@pytest.mark.parametrize("bracket", [FixedBracket(target_ticks=5), Atr(target=3.0), Atr(period=100), Unprotected()])
def test_brackets_are_causal_warm_and_on_the_grid(bracket, view):
    levels = bracket.levels(view)
    after = levels.iloc[bracket.warmup :]

    assert check(bracket.levels, view, bracket.warmup) == []
    assert getattr(bracket, "protects", True) == bool(after.notna().all().all())
    assert ((levels / 0.25) % 1).dropna().eq(0).all().all()


@pytest.mark.parametrize(
    ("bracket", "wrong"),
    [
        (FixedBracket, {"stop_ticks": 0}),
        (FixedBracket, {"target_ticks": 0}),
        (Atr, {"stop": 0.0}),
        (Atr, {"period": 0}),
    ],
)
def test_distances_out_of_range_are_refused(bracket, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        bracket(**wrong)


def test_atr_refuses_a_minimum_above_its_maximum():
    with pytest.raises(ValueError, match="min_ticks must not be above max_ticks"):
        Atr(min_ticks=50, max_ticks=40)


def test_fixed_size():
    assert FixedSizer(contracts=3)(entry(m=4)).tolist() == [3, 3, 3, 3]


def test_fixed_fractional_by_hand():
    # a stop of 50 points x $2 = $100 a contract
    assert FixedFractional(risk=0.01)(entry()).tolist() == [1]
    assert FixedFractional(risk=0.0299)(entry()).tolist() == [2]
    assert FixedFractional(risk=0.29)(entry(equity=10_000.0)).tolist() == [29]  # 0.29 x 10,000 is 2899.9999999999995
    assert FixedFractional(risk=0.01)(entry(stop_distance=50.25)).tolist() == [0]
    assert FixedFractional(risk=0.01)(entry(equity=-500.0)).tolist() == [0]


def kelly_share(record, prior):
    """Return p - (1 - p) / b with the pseudo-trades written out."""
    wins, losses, win, loss = record
    trades = wins + losses
    usual = (wins * win + losses * loss) / trades if trades else 1.0
    won, lost = wins + prior / 2, losses + prior / 2
    average_win = (wins * win + prior / 2 * 1.5 * usual) / won
    average_loss = (losses * loss + prior / 2 * usual) / lost
    chance = won / (won + lost)
    return chance - (1 - chance) / (average_win / average_loss)


@pytest.mark.parametrize(
    "record", [(0, 0, 0.0, 0.0), (30, 20, 150.0, 100.0), (5, 0, 80.0, 0.0), (100, 100, 90.0, 60.0)]
)
@pytest.mark.parametrize("prior", [1, 20])
def test_kelly_is_the_textbook_share_of_the_shrunk_record(record, prior):
    share = kelly_share(record, prior)
    names = ("wins", "losses", "average_win", "average_loss")
    sized = Kelly(fraction=0.5, prior_trades=prior, cap=1.0)(
        entry(**dict(zip(names, record, strict=True)), equity=1e9, stop_distance=0.5, point_value=2.0)
    )

    assert share > 0
    assert sized[0] == pytest.approx(0.5 * share * 1e9, rel=1e-4)


def test_kelly_starts_with_a_small_edge_and_stops_without_one():
    assert Kelly(cap=0.5)(entry()).tolist() == [4]  # 0.25 x 16.7 % of $10,000 = $417
    assert Kelly()(entry()).tolist() == [2]  # the cap: $200
    assert Kelly()(entry(wins=40, losses=60, average_win=100.0, average_loss=100.0)).tolist() == [0]
    assert Kelly()(entry(wins=60, losses=40, average_win=100.0, average_loss=100.0)).tolist() == [2]
    assert Kelly(cap=0.5)(entry(wins=60, losses=40, average_win=100.0, average_loss=100.0)).tolist() == [4]


def test_volatility_size_by_hand():
    # 20 % of $10,000 over 20 % of 20,000 x $2 = 2,000 / 8,000; with $100,000 2.5
    assert Volatility(target=0.2)(entry(signal=0.2)).tolist() == [0]
    assert Volatility(target=0.2)(entry(signal=0.2, equity=100_000.0)).tolist() == [2]
    assert Volatility(target=0.2)(entry(signal=0.05)).tolist() == [1]


def test_volatility_is_measured_causally_and_yearly(make_view):
    calm = make_view(days=40, market="no-edge", volatility=0.10, carry=0.0)
    sizer = Volatility(period=288)

    known = sizer.prepare(calm)

    assert known.iloc[:288].isna().all()
    assert known.iloc[288:].notna().all()
    assert known.mean() == pytest.approx(0.10, rel=0.3)
    assert check(sizer.prepare, calm, sizer.warmup) == []


def test_volatility_by_hand(view):
    made = attrs.evolve(view, bars=view.bars.iloc[:4].assign(close=[100.0, 101.0, 100.0, 102.0]))
    returns = np.diff(np.log([101.0, 100.0, 102.0]))
    sessions = view.calendar.sessions(pd.Timestamp("2024-01-01"), pd.Timestamp("2025-01-01"))
    bars = (sessions["close"] - sessions["open"]).sum() / pd.Timedelta("5min")

    assert bars == pytest.approx(252 * 276, rel=0.03)
    assert Volatility(period=2).prepare(made).iloc[-1] == pytest.approx(returns.std(ddof=1) * np.sqrt(bars), rel=2e-3)


def test_a_market_that_does_not_move_has_no_size(view):
    still = attrs.evolve(view, bars=view.bars.assign(close=100.0))

    assert Volatility(period=5).prepare(still).isna().all()


SIZERS = [FixedSizer(contracts=2), FixedFractional(risk=0.05), Kelly(), Kelly(prior_trades=1), Volatility()]
MONEY = st.floats(0, 1e5)


@pytest.mark.parametrize("sizer", SIZERS, ids=lambda sizer: type(sizer).__name__)
@hypothesis.given(
    lanes=st.lists(
        st.fixed_dictionaries(
            {
                "equity": st.floats(-1e6, 1e9),
                "stop_distance": st.floats(0.25, 1e4),
                "price": st.floats(1, 1e5),
                "signal": st.floats(1e-3, 10),
                "wins": st.integers(0, 10_000),
                "losses": st.integers(0, 10_000),
                "average_win": MONEY,
                "average_loss": MONEY,
            }
        ),
        min_size=0,
        max_size=5,
    )
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_lanes_are_sized_as_if_alone_in_whole_contracts(sizer, lanes):
    single = [entry(**lane) for lane in lanes]
    names = [field.name for field in attrs.fields(Entry)]
    many = Entry(**{name: np.concatenate([getattr(one, name) for one in [*single, entry(m=0)]]) for name in names})

    sizes = sizer(many)

    assert sizes.dtype == np.int64
    assert sizes.shape == (len(lanes),)
    assert (sizes >= 0).all()
    assert sizes.tolist() == [int(sizer(one)[0]) for one in single]


def test_sizers_say_whether_they_read_the_stop():
    reads = {type(sizer).__name__: getattr(sizer, "needs_stop", False) for sizer in SIZERS}

    assert reads == {"Fixed": False, "FixedFractional": True, "Kelly": True, "Volatility": False}


def test_the_default_reward_pays_what_closed_trades_brought():
    realised = np.array([0.0, -101.24, 55.5])
    fields = dict.fromkeys([field.name for field in attrs.fields(Step)], np.zeros(3)) | {"realised": realised}

    paid = TradePnl()(Step(**fields))

    assert paid.tolist() == [0.0, -101.24, 55.5]
    assert paid is not realised
