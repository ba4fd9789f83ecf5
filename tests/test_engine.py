"""`BacktestEngine`: a frame of bars and signals, with the same accounting as a strategy's backtest."""

import numpy as np
import pandas as pd
import pytest

from mnqcore import Action, BacktestEngine, BarRequest, DataError, MnqError, run
from mnqcore.market.instruments import catalogue
from mnqplugins.agents.sma_cross import SmaCross
from mnqplugins.data.synthetic import Synthetic

STRATEGY = """
format = 1
[strategy.cross]
instrument = "{instrument}"
bar_size = "5 min"
data = {{ use = "synthetic", days = 20 }}
agent = {{ use = "sma-cross", fast = 5, slow = 20 }}
bracket = {{ use = "fixed", stop_ticks = 60 }}
costs = {{ initial_balance = 25_000.0, commission = 0.85, slippage_ticks = 2 }}
"""


def session_bars(closes, *, start="2024-06-03 14:00", **columns):
    """Bars of 5 minutes that open where the last one closed."""
    index = pd.date_range(start, periods=len(closes), freq="5min", tz="UTC", name="time").as_unit("ns")
    close = np.asarray(closes, dtype=np.float64)
    begin = np.append(close[0], close[:-1])
    return pd.DataFrame(
        {"open": begin, "high": np.maximum(begin, close), "low": np.minimum(begin, close), "close": close,
         "volume": 1.0, **columns},
        index=index,
    )  # fmt: skip


@pytest.mark.parametrize("instrument", ["MNQ", "6E"])
def test_it_equals_a_strategy_run_on_the_same_bars_and_signals(instrument, make_view, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(STRATEGY.format(instrument=instrument))
    kept = run("s.toml")
    view = make_view(20, instrument=instrument)
    bars = view.bars.drop(columns="contract")

    engine = BacktestEngine(
        bars, initial_capital=25_000.0, commission=0.85, instrument=instrument, slippage_ticks=2, stop_loss_ticks=60
    )
    found = engine.run(SmaCross(fast=5, slow=20).signals(view))

    assert len(found.trades) > 20
    shared = [name for name in kept.trades if name != "contract"]
    pd.testing.assert_frame_equal(found.trades[shared], kept.trades[shared])
    pd.testing.assert_series_equal(found.equity, kept.equity, check_names=False)
    same = ("net_profit", "sharpe", "max_drawdown", "trades", "costs", "denied", "counts", "by_reason")
    assert {name: found.metrics[name] for name in same} == {name: kept.metrics[name] for name in same}


@pytest.mark.parametrize("instrument", ["MNQ", "ES", "M6E", "EURUSD"])
def test_a_trade_by_hand(instrument):
    traded = catalogue()[instrument]
    tick = traded.tick_size
    prices = np.round(1000 * tick + np.array([0, 0, 0, 10, 20, 30, 30, 30, 30]) * tick, 10)
    actions = np.array([0, Action.BUY, 0, 0, 0, Action.CLOSE, 0, 0, 0], dtype=np.int8)

    found = BacktestEngine(
        session_bars(prices), 100_000.0, 1.0, instrument=instrument, slippage_ticks=1, stop_loss_ticks=None
    ).run(actions)

    (trade,) = found.trades.to_dict("records")  # in at the open of bar 2, out at that of bar 6, a tick lost on each
    assert (trade["entry_bar"], trade["exit_bar"], trade["ticks"], trade["reason"]) == (2, 6, 28, "signal")
    assert trade["net"] == pytest.approx(28 * traded.tick_value - 2.0)
    assert found.equity.iloc[-1] == pytest.approx(100_000.0 + trade["net"])
    assert found.metrics["net_profit"] == pytest.approx(trade["net"])


def test_a_stop_by_hand():
    bars = session_bars([100.0, 100.0, 100.0, 90.0, 90.0])
    found = BacktestEngine(bars, commission=0.0, slippage_ticks=0, stop_loss_ticks=8).run([1, 0, 0, 0, 0])

    (trade,) = found.trades.to_dict("records")
    assert (trade["reason"], trade["exit_price"], trade["net"]) == ("stop", 98.0, -4.0)


def test_bars_outside_the_session_lose_their_signals():
    weekend = session_bars([100.0] * 3, start="2024-06-01 14:00")  # a Saturday
    bars = pd.concat([weekend, session_bars([100.0, 100.0, 100.0, 110.0, 110.0, 110.0])])
    actions = [1, 1, 1, 0, 1, 0, 0, 3, 0]

    found = BacktestEngine(bars, commission=0.0, slippage_ticks=0).run(actions)

    (trade,) = found.trades.to_dict("records")
    assert (trade["entry_bar"], trade["exit_bar"], trade["net"]) == (2, 5, 20.0)
    assert len(found.equity) == 6


def test_of_several_contracts_the_leading_ones_rows_are_traded():
    traded = catalogue()["MNQ"]
    bars = Synthetic(days=60).bars(BarRequest(instrument=traded, bar_size=pd.Timedelta("5min")))
    assert bars.index.has_duplicates  # two contracts around the roll
    engine = BacktestEngine(bars, 1e6)
    lead = engine.market.view.bars
    signals = SmaCross(fast=5, slow=20).signals(engine.market.view)
    rows = pd.MultiIndex.from_arrays([bars.index, bars["contract"]])
    of_lead = rows.get_indexer(pd.MultiIndex.from_arrays([lead.index, lead["contract"]]))
    actions = np.full(len(bars), Action.SELL, np.int8)  # what another contract's rows say must not matter
    actions[of_lead] = signals.to_numpy()

    found = engine.run(actions)

    assert set(found.trades["contract"]) == {"MNQH24", "MNQM24"}
    again = engine.run(actions)
    pd.testing.assert_frame_equal(found.trades, again.trades)
    first = found.trades.iloc[0]
    assert signals.iloc[first["entry_bar"] - 1] == (Action.BUY if first["side"] > 0 else Action.SELL)


def test_no_signals_is_no_trade():
    found = BacktestEngine(session_bars([100.0] * 5)).run(np.zeros(5, np.int8))

    assert found.metrics["net_profit"] == 0
    assert found.metrics["trades"]["count"] == 0
    assert found.metrics["sharpe"] is None


BARS = session_bars([100.0, 101.0, 102.0, 103.0])


@pytest.mark.parametrize(
    ("signals", "words"),
    [
        ([0, 1, 0], "one action a bar"),
        (np.zeros((4, 1), np.int8), "one action a bar"),
        ([0, 1, 2, 4], "0 HOLD"),
        ([0, -1, 2, 3], "0 HOLD"),
        ([0.0, 1.0, 2.0, np.nan], "0 HOLD"),
        ([0.0, 0.5, 1.0, 1.0], "0 HOLD"),
        (["BUY"] * 4, "0 HOLD"),
        (pd.Series([0, 1, 0, 3]), "another index"),
        (pd.Series([0, 1, 0, 3], index=BARS.index[::-1]), "another index"),
        (None, "one action a bar"),
    ],
)
def test_signals_that_are_none_are_refused(signals, words):
    with pytest.raises(DataError, match=words):
        BacktestEngine(BARS).run(signals)


@pytest.mark.parametrize(
    ("bars", "options", "words"),
    [
        (BARS[:1], {}, "two bars"),
        (BARS.drop(columns="close"), {}, "no column close"),
        (BARS.tz_localize(None), {}, "no zone"),
        (BARS[::-1], {}, "not in order"),
        (BARS.reset_index(drop=True), {}, "not times"),
        (BARS.assign(high=np.nan), {}, "not finite"),
        (BARS.assign(high=1e18), {}, "too high"),
        (BARS.set_axis(BARS.index - pd.Timedelta(days=2)), {}, "within the trading session"),
        (BARS, {"instrument": "MNK"}, "no instrument 'MNK'\n.*did you mean"),
        (BARS, {"initial_capital": -1.0}, "initial_balance must be above 0"),
        (BARS, {"initial_capital": float("nan")}, "must be finite"),
        (BARS, {"commission": -1.0}, "at least 0"),
        (BARS, {"commission": None}, "numbers"),
        (BARS, {"slippage_ticks": -1}, "at least 0"),
        (BARS, {"stop_loss_ticks": 0}, "stop_loss_ticks"),
        (BARS, {"stop_loss_ticks": -5}, "stop_loss_ticks"),
    ],
)
def test_an_account_that_cannot_be_is_refused(bars, options, words):
    with pytest.raises(MnqError, match=words):
        BacktestEngine(bars, **options)


def test_whole_and_narrow_numbers_are_taken_as_they_are():
    bars = session_bars([20_000.0, 20_010.0, 20_020.0, 20_030.0])
    signals = [1, 0, 3, 0]

    narrow = bars.astype({"volume": "int64", "open": "float32"})

    assert BacktestEngine(narrow).run(signals).trades.equals(BacktestEngine(bars).run(signals).trades)


@pytest.mark.parametrize(("column", "value"), [("low", 20_030.0), ("high", 19_990.0), ("close", 20_500.0)])
def test_bars_that_no_market_made_are_refused(column, value):
    bars = session_bars([20_000.0, 20_010.0, 20_020.0])
    bars.iloc[1, bars.columns.get_loc(column)] = value

    with pytest.raises(DataError, match=r"outside low \.\. high in 1 bars, the first at 2024-06-03 14:05"):
        BacktestEngine(bars)
