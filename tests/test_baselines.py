"""The baselines: doing nothing, holding one contract, and a strategy's own trades on random bars."""

import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnqcore.api.values import Action
from mnqcore.market.instruments import catalogue
from mnqcore.metrics import baselines
from mnqcore.metrics.baselines import _scattered
from mnqcore.simulator import Account, rulebook
from mnqcore.simulator.records import TRADE
from mnqcore.strategy.settings import Commission, Costs, Risk, Session
from mnqcore.tape import lay
from tests.tapes import bars, rolling

MNQ = catalogue()["MNQ"]
BALANCE = 10_000.0


def laid(frame, **session):
    return lay(frame, MNQ, Session(**session), pd.Timedelta("5min"))


def law(**risk):
    return rulebook(MNQ, Costs(commission=Commission(per_contract=0.62)), Risk(**risk))


def one(entry):
    return np.ones(len(entry.side), np.int64)


def trips(*rows):
    """Return TRADE records of (side, bars held)."""
    found = np.zeros(len(rows), TRADE)
    found["side"], found["exit_bar"] = np.array(rows).T
    return found


def test_flat_makes_and_risks_nothing():
    assert baselines.flat() == baselines.Baseline(net_profit=0.0, max_drawdown=0.0, sharpe=None, trades=0)


def test_buy_and_hold_rolls():
    times = (("2024-06-14 15:40", "2024-06-14 15:55"), ("2024-06-16 17:00", "2024-06-16 17:10"))
    market = laid(rolling(bars(*times, contract="MNQM4"), bars(*times, contract="MNQU4", base=21_000.0)))
    found = baselines.buy_and_hold(market, law(), BALANCE)

    # Friday, June: in at 15:45 at 20,001.25, out two bars before the last close, at 15:50: 20,002 - 0.25:
    # 2 ticks = $1.00 - $1.24 = -$0.24
    # Monday, September: the roll's bar takes no entry; in at 17:05 at 21,005.25, out at the last close
    # 21,006.50 - 0.25: 4 ticks = $2.00 - $1.24 = $0.76
    # Lowest close: 17:05, 1 tick above the entry: 10,000 - 0.24 + 0.50 - 0.62 = 9,999.64
    assert (found.net_profit, found.trades) == (0.52, 2)
    assert found.max_drawdown == pytest.approx(-0.36, abs=1e-9)
    days = np.array([9_999.76 / 10_000 - 1, 10_000.52 / 9_999.76 - 1])
    assert found.sharpe == pytest.approx(
        days.mean() / days.std(ddof=1) * np.sqrt(market.calendar.days_per_year), rel=1e-6
    )


def test_buy_and_hold_holds_one_contract_through_closes_and_limits():
    market = laid(bars(("2024-07-01 15:45", "2024-07-01 15:55"), ("2024-07-01 17:00", "2024-07-01 17:10")))
    market.orders["stop"] = market.orders["target"] = 1
    market.orders["sizer_signal"] = np.nan
    before = market.tape.copy(), market.orders.copy()
    strict = law(max_position=7, max_daily_loss=1e-6, max_loss=1e-6, max_trades_per_day=1, cooldown_bars=9)
    found = baselines.buy_and_hold(market, strict, 100.0)

    # in at 15:50: 20,001.25; out at the close of 17:10: 20,005.50 - 0.25: 16 ticks = $8 - 1.24
    assert (found.net_profit, found.trades) == (6.76, 1)
    assert (market.tape == before[0]).all()
    assert market.orders.tobytes() == before[1].tobytes()


TRIPS = trips((1, 5), (1, 12), (-1, 3), (-1, 40), (1, 1), (-1, 3))


def drawn(market, size_of=one, net_profit=0.0, *, balance=BALANCE, seed, seeds):
    found = baselines.random_entries(market, law(), balance, size_of, TRIPS, net_profit, seed=seed, seeds=seeds)
    assert found is not None
    return found


LONG_DAY = ("2024-07-01 00:00", "2024-07-01 15:55")


@pytest.fixture(scope="module")
def market():
    """Return a day of bars whose prices go nowhere in particular."""
    frame = bars(LONG_DAY)
    walk = np.cumsum(np.random.default_rng(5).normal(0, 10, len(frame)))
    frame["open"] = 20_000.0 + np.round(walk * 4) / 4
    frame["close"] = frame["open"].shift(-1, fill_value=20_000.0)
    frame["high"], frame["low"] = frame[["open", "close"]].max(axis=1) + 2, frame[["open", "close"]].min(axis=1) - 2
    return laid(frame, flat_by_close=False)


def test_random_entries_keep_number_sides_and_holding_times(market):
    sides: Counter[tuple[int, int]] = Counter()

    def size_of(entry):
        sides.update(zip(entry.lanes.tolist(), entry.side.tolist(), strict=True))
        return one(entry)

    found = drawn(market, size_of, seed=3, seeds=10)

    assert found.seeds == 10
    assert found.low.trades == found.median.trades == found.high.trades == 6
    assert sides == {(lane, side): 3 for lane in range(10) for side in (1, -1)}


def test_random_entries_are_quantiles_of_their_lanes(market):
    found = drawn(market, seed=3, seeds=41)
    nets, falls, held = [], [], set()
    for lane in range(41):
        account = Account(market.tape, market.orders, law(), initial_balance=BALANCE)
        actions = _scattered(TRIPS, len(market.tape), np.random.default_rng([3, lane]))
        curve = account.run(actions, size_of=one)[0] / 1e6
        nets.append(curve[-1] - BALANCE)
        falls.append((curve - np.maximum.accumulate(curve)).min())
        rows = account.trades[0]
        held.add(
            tuple(sorted(zip(rows["side"].tolist(), (rows["exit_bar"] - rows["entry_bar"]).tolist(), strict=True)))
        )

    assert held == {tuple(sorted([(1, 5), (1, 12), (-1, 3), (-1, 40), (1, 1), (-1, 3)]))}
    for baseline, share in ((found.low, 0.05), (found.median, 0.5), (found.high, 0.95)):
        assert baseline.net_profit == pytest.approx(np.quantile(nets, share), abs=1e-6)
        assert baseline.max_drawdown == pytest.approx(np.quantile(falls, share), abs=1e-6)


@pytest.mark.parametrize(("net", "percentile"), [(1e9, 100.0), (-1e9, 0.0)])
def test_percentile_at_the_ends(market, net, percentile):
    found = drawn(market, net_profit=net, seed=0, seeds=8)

    assert found.percentile == percentile


def test_percentile_counts_ties_half():
    frame = bars(LONG_DAY)
    frame[["open", "high", "low", "close"]] = 20_000.0
    market = laid(frame, flat_by_close=False)
    # without a move every lane pays the same: 6 x (2 ticks of slippage + $1.24) = $13.44
    for net, percentile in ((-13.44, 50.0), (-13.43, 100.0), (-13.45, 0.0)):
        found = drawn(market, net_profit=net, seed=0, seeds=8)
        assert (found.median.net_profit, found.percentile) == (-13.44, percentile)


def test_random_entries_follow_from_their_seed(market):
    first, again, other = (drawn(market, seed=seed, seeds=25) for seed in (1, 1, 2))

    assert first == again != other


def test_random_entries_meet_the_same_rules(market):
    refused = drawn(market, balance=100.0, seed=0, seeds=5)

    assert refused.high == baselines.Baseline(net_profit=0.0, max_drawdown=0.0, sharpe=None, trades=0)


def test_random_entries_of_no_trades(market):
    assert baselines.random_entries(market, law(), BALANCE, one, np.zeros(0, TRADE), 0.0, seed=0) is None


def read(actions):
    """Return (side, bars held, bar of the order) of each trade that actions describe."""
    found, opened = [], None
    for bar, action in enumerate(actions.tolist()):
        if action in (Action.BUY, Action.SELL):
            assert opened is None, "two at once"
            opened = (1 if action == Action.BUY else -1, bar)
        elif action == Action.CLOSE:
            assert opened is not None, "a CLOSE while flat"
            found.append((opened[0], bar - opened[1], opened[1]))
            opened = None
    assert opened is None, "never closed"
    return found


some_trips = st.lists(
    st.tuples(st.sampled_from((1, -1)), st.one_of(st.just(0), st.integers(1, 3), st.integers(1, 300))), max_size=60
)


@given(rows=some_trips, count=st.integers(2, 150), seed=st.integers(0, 2**32 - 1))
def test_scattered_trades_fit_whatever_they_are(rows, count, seed):
    trades = trips(*rows) if rows else np.zeros(0, TRADE)
    found = read(_scattered(trades, count, np.random.default_rng(seed)))
    wanted = sorted((side, max(held, 1)) for side, held in rows)

    if sum(held + 1 for _, held in wanted) <= count - 1:
        assert sorted((side, held) for side, held, _ in found) == wanted
    else:  # as many as there is room for, shortened
        assert len(found) == min(len(rows), (count - 1) // 2)
        assert not Counter(side for side, _, _ in found) - Counter(side for side, _ in rows)
        longest = max(held for _, held in wanted)
        assert all(1 <= held <= longest for _, held, _ in found)
    assert all(bar + held < count - 1 for _, held, bar in found)


def test_each_arrangement_is_as_likely_as_any_other():
    # Two trades of one bar take two bars each; 3 of the 7 bars with a decision stay free: 10 arrangements.
    draws = 4_000
    seen = Counter(
        tuple(bar for _, _, bar in read(_scattered(trips((1, 1), (1, 1)), 8, np.random.default_rng([7, draw]))))
        for draw in range(draws)
    )

    every = {(a, b) for a, b in itertools.combinations(range(6), 2) if b - a >= 2}
    assert set(seen) == every
    assert len(every) == 10
    deviation = np.sqrt(draws * 0.1 * 0.9)
    assert max(abs(count - draws / 10) for count in seen.values()) < 4.5 * deviation
