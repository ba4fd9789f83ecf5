"""The summary as a whole: a hand-computed table, every edge, invariants, valid JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnqcore.api.values import ExitReason
from mnqcore.errors import DataError
from mnqcore.market.instruments import catalogue
from mnqcore.metrics import summarise

MNQ = catalogue()["MNQ"]
COLUMNS = "entry_bar exit_bar side contracts ticks reason risk mae mfe bars_held entry_price"


def table(rows):
    """Trades of one commission of $0.62 a contract and side and one tick of slippage a fill, from COLUMNS."""
    frame = pd.DataFrame(rows, columns=COLUMNS.split())
    whole = ["entry_bar", "exit_bar", "side", "contracts", "ticks", "bars_held"]
    frame = frame.astype(
        dict.fromkeys(whole, "int64") | dict.fromkeys(["risk", "mae", "mfe", "entry_price"], "float64")
    )
    frame["exit_price"] = frame["entry_price"] + frame["side"] * frame["ticks"] * MNQ.tick_size
    frame["gross"] = frame["ticks"] * frame["contracts"] * MNQ.tick_value
    frame["commission"] = (frame["contracts"] * 1.24).round(6)
    slips = 2 - (frame["reason"] == "target").astype("int64")
    frame["slippage"] = slips * frame["contracts"] * MNQ.tick_value
    frame["net"] = (frame["gross"] - frame["commission"]).round(6)
    return frame


ROWS = [
    (0, 1, +1, 1, 40, "signal", 100.0, 3.0, 25.0, 1, 20_000.0),
    (2, 2, -1, 2, -240, "stop", 200.0, 240.0, 0.0, 1, 20_010.0),
    (3, 5, -1, 1, 100, "target", 100.0, 10.0, 50.0, 3, 20_020.0),
    (6, 7, +1, 1, -10, "session", 100.0, 9.0, 4.0, 1, 19_990.0),
]
DAYS = np.array(["2024-01-30"] * 3 + ["2024-01-31"] * 2 + ["2024-02-01"] * 3, dtype="datetime64[D]")
NETS = [20.0 - 1.24, -240.0 - 2.48, 50.0 - 1.24, -5.0 - 1.24]
EQUITY = 10_000.0 + np.array([0.0, 18.76, -223.72, -223.72, -213.72, -174.96, -174.96, -181.2])
POSITION = np.array([1, 0, 0, -1, -1, 0, 1, 0])
HOURS = np.array([9, 14, 9, 8])


def small(**changes):
    facts = {
        "trades": table(ROWS),
        "equity": EQUITY,
        "days": DAYS,
        "initial_balance": 10_000.0,
        "days_per_year": 252.0,
        "instrument": MNQ,
        "slippage_ticks": 1,
        "position": POSITION,
        "hours": HOURS,
    } | changes
    trades, equity, days = (facts.pop(name) for name in ("trades", "equity", "days"))
    figures = summarise(trades, equity, days, **facts)
    json.dumps(figures, allow_nan=False)
    return figures


def none():
    return table([])


def test_money_and_returns_by_hand():
    figures = small()
    returns = np.array([-0.022372, 10.0 / 9776.28, 32.52 / 9786.28])
    assert figures["bars"] == 8
    assert figures["net_profit"] == -181.2
    assert (figures["first_day"], figures["last_day"], figures["days"]) == ("2024-01-30", "2024-02-01", 3)
    assert figures["years"] == pytest.approx(3 / 252)
    assert figures["ruin_day"] is None
    assert figures["total_return"] == pytest.approx(-0.01812)
    assert figures["annualised_return"] == pytest.approx(returns.mean() * 252)
    assert figures["cagr"] == pytest.approx((1 - 0.01812) ** 84 - 1)
    assert figures["volatility"] == pytest.approx(returns.std(ddof=1) * math.sqrt(252))
    assert figures["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(252))
    assert figures["sortino"] == pytest.approx(returns.mean() / (0.022372 / math.sqrt(3)) * math.sqrt(252))
    assert figures["calmar"] == pytest.approx(figures["cagr"] / (242.48 / 10_018.76))
    assert (figures["winning_days"], figures["losing_days"]) == (2, 1)
    assert figures["worst_days"] == [{"day": "2024-01-30", "change": -223.72}]
    assert figures["cvar_99"] == pytest.approx(0.022372)
    assert figures["var_95"] == pytest.approx(0.022372 * 0.9 - returns[1] * 0.1)


def test_drawdowns_by_hand():
    figures = small()
    assert figures["max_drawdown"] == -242.48
    assert figures["max_drawdown_share"] == pytest.approx(-242.48 / 10_018.76)
    assert figures["max_drawdown_from"] == figures["max_drawdown_bottom"] == "2024-01-30"
    assert figures["max_drawdown_recovered"] is None
    assert figures["drawdowns"] == 1
    assert figures["average_drawdown"] == pytest.approx(-223.72)
    assert figures["average_drawdown_share"] == pytest.approx(-0.022372)
    assert figures["longest_drawdown_days"] == figures["average_drawdown_days"] == 3
    assert figures["recovery_factor"] == pytest.approx(-181.2 / 242.48)


def test_trades_by_hand():
    trades = small()["trades"]
    assert trades["count"] == 4
    assert (trades["wins"], trades["losses"], trades["contracts"]) == (2, 2, 5)
    assert (trades["gross"], trades["net"]) == (-175.0, -181.2)
    assert trades["win_rate"] == 0.5
    assert trades["profit_factor"] == pytest.approx(67.52 / 248.72)
    assert trades["expectancy"] == pytest.approx(-45.3)
    assert trades["expectancy_ticks"] == pytest.approx(-181.2 / 2.5)
    assert (trades["average_win"], trades["average_loss"]) == (33.76, -124.36)
    assert trades["payoff"] == pytest.approx(33.76 / 124.36)
    assert (trades["largest_net"], trades["smallest_net"]) == (48.76, -242.48)
    assert (trades["longest_winning_run"], trades["longest_losing_run"]) == (1, 1)
    assert trades["average_bars_held"] == 1.5
    assert (trades["first_day"], trades["last_day"]) == ("2024-01-30", "2024-02-01")


def test_costs_exposure_and_excursions_by_hand():
    figures = small()
    costs = figures["costs"]
    assert (costs["commission"], costs["slippage"], costs["total"]) == (6.2, 4.5, 10.7)
    assert costs["ticks_per_trade"] == pytest.approx(10.7 / 2.5)
    assert costs["net_at_slippage"] == {"0": -176.7, "1": -181.2, "2": -185.7, "3": -190.2}
    assert costs["break_even_slippage"] == pytest.approx(-176.7 / 4.5)
    assert figures["time_in_market"] == 0.5
    traded = 2.0 * (20_000 + 20_010 + 2 * (20_010 + 20_070) + 20_020 + 19_995 + 19_990 + 19_987.5)
    daily = (9776.28 + 9786.28 + 9818.8) / 3
    assert figures["turnover"] == pytest.approx(traded / daily * 84)
    excursions = figures["excursions"]
    assert (excursions["average_mae"], excursions["average_mfe"]) == (65.5, 19.75)
    assert (excursions["largest_mae"], excursions["largest_mfe"]) == (240.0, 50.0)
    assert (excursions["average_mae_of_wins"], excursions["average_mfe_of_losses"]) == (6.5, 2.0)
    assert excursions["edge_ratio"] == pytest.approx(79.0 / 262.0)
    assert figures["stops"] == {"count": 1, "beyond_risk": 1, "worst_beyond_risk_ticks": -38}


def test_breakdowns_by_hand():
    figures = small()
    nets = {name: {label: row["net"] for label, row in figures[name].items()} for name in figures if name[:3] == "by_"}
    assert nets == {
        "by_side": {"long": 12.52, "short": -193.72},
        "by_reason": {"signal": 18.76, "stop": -242.48, "target": 48.76, "session": -6.24},
        "by_hour": {"08": -6.24, "09": 67.52, "14": -242.48},
        "by_weekday": {"Tue": -223.72, "Thu": 42.52},
        "by_month": {"2024-01": -223.72, "2024-02": 42.52},
    }
    assert figures["by_reason"]["stop"]["trades"] == 1
    assert figures["by_side"]["long"]["win_rate"] == 0.5


def test_a_trade_is_of_the_trading_day_that_it_ended_in():
    figures = small(trades=table([(2, 5, 1, 1, 4, "signal", 100.0, 0.0, 2.0, 3, 20_000.0)]), hours=np.array([17]))
    assert list(figures["by_month"]) == ["2024-02"]
    assert list(figures["by_hour"]) == ["17"]


def test_what_was_not_given_is_none():
    figures = small(position=None, hours=None)
    assert figures["time_in_market"] is None
    assert figures["by_hour"] is None


def test_no_trades():
    figures = small(trades=none(), equity=np.full(8, 10_000.0), position=np.zeros(8, dtype=np.int64), hours=HOURS[:0])
    undefined = {name for name, value in figures["trades"].items() if value is None}
    assert undefined == {
        *("win_rate", "profit_factor", "expectancy", "expectancy_ticks", "average_win", "average_loss", "payoff"),
        *("largest_net", "smallest_net", "average_bars_held", "first_day", "last_day"),
    }
    assert (figures["trades"]["count"], figures["trades"]["net"], figures["net_profit"]) == (0, 0.0, 0.0)
    assert figures["costs"]["break_even_slippage"] is None
    assert figures["costs"]["net_at_slippage"] == dict.fromkeys("0123", 0.0)
    assert figures["by_side"]["short"] == {"trades": 0, "wins": 0, "net": 0.0, "average": None, "win_rate": None}
    assert figures["by_reason"] == figures["by_hour"] == figures["by_month"] == figures["by_weekday"] == {}
    assert figures["stops"] == {"count": 0, "beyond_risk": 0, "worst_beyond_risk_ticks": 0}
    assert (figures["volatility"], figures["total_return"], figures["cagr"]) == (0.0, 0.0, 0.0)
    assert figures["sharpe"] is figures["sortino"] is figures["calmar"] is figures["recovery_factor"] is None
    assert (figures["max_drawdown"], figures["drawdowns"], figures["longest_drawdown_days"]) == (0.0, 0, 0)
    assert figures["average_drawdown"] is figures["average_drawdown_days"] is figures["max_drawdown_from"] is None
    assert figures["var_95"] == figures["cvar_99"] == 0.0
    assert figures["time_in_market"] == figures["turnover"] == 0.0


def test_an_empty_frame_of_objects_is_no_trades():
    empty = pd.DataFrame(columns=list(table(ROWS).columns))
    assert small(trades=empty, hours=None)["trades"]["count"] == 0


def test_one_trade():
    figures = small(trades=table(ROWS[:1]), hours=HOURS[:1])
    assert figures["trades"]["count"] == figures["trades"]["longest_winning_run"] == 1
    assert figures["trades"]["profit_factor"] is None
    assert (
        figures["trades"]["largest_net"]
        == figures["trades"]["smallest_net"]
        == figures["trades"]["expectancy"]
        == 18.76
    )


def test_all_wins():
    figures = small(trades=table([ROWS[0], ROWS[2]]), equity=10_000.0 + np.arange(8) * 3.0, hours=HOURS[:2])
    assert figures["trades"]["win_rate"] == 1.0
    assert (
        figures["trades"]["profit_factor"] is figures["trades"]["payoff"] is figures["trades"]["average_loss"] is None
    )
    assert figures["sortino"] is figures["calmar"] is figures["recovery_factor"] is None
    assert figures["sharpe"] > 0
    assert figures["worst_days"] == []
    assert figures["var_95"] < 0  # even the worst day won


def test_one_day():
    figures = small(days=np.full(8, DAYS[0]))
    assert figures["days"] == 1
    assert figures["volatility"] is figures["sharpe"] is figures["sortino"] is None
    assert figures["var_95"] == figures["cvar_95"] == pytest.approx(0.01812)
    assert figures["cagr"] == pytest.approx((1 - 0.01812) ** 252 - 1)


def test_one_bar():
    figures = small(trades=none(), equity=np.array([9_990.0]), days=DAYS[:1], position=None, hours=None)
    assert (figures["bars"], figures["net_profit"], figures["max_drawdown"]) == (1, -10.0, -10.0)


def test_ruin_at_the_end_of_a_day():
    equity = np.array([9_000.0, 8_000.0, 6_000.0, 2_000.0, -500.0, -500.0, -500.0, -500.0])
    figures = small(equity=equity)
    assert figures["ruin_day"] == "2024-01-31"
    assert (figures["total_return"], figures["cagr"]) == (-1.0, -1.0)
    assert figures["net_profit"] == -10_500.0
    assert figures["max_drawdown"] == -10_500.0
    assert figures["max_drawdown_share"] == figures["calmar"] == -1.0
    returns = np.array([-0.4, -1.0])
    assert figures["annualised_return"] == pytest.approx(-0.7 * 252)
    assert figures["sharpe"] == pytest.approx(-0.7 / returns.std(ddof=1) * math.sqrt(252))
    assert figures["cvar_99"] == 1.0
    assert figures["losing_days"] == 2


def test_ruin_inside_a_day_ends_the_returns_though_equity_comes_back():
    equity = np.array([10_000.0, 10_000.0, 9_000.0, -1.0, 5_000.0, 5_000.0, 5_000.0, 5_000.0])
    figures = small(equity=equity)
    assert figures["ruin_day"] == "2024-01-31"
    assert (figures["total_return"], figures["cagr"], figures["net_profit"]) == (-1.0, -1.0, -5_000.0)
    assert figures["annualised_return"] == pytest.approx(-0.55 * 252)


def test_ruin_on_the_first_bar_leaves_one_day():
    figures = small(equity=np.full(8, -20_000.0))
    assert figures["sharpe"] is None
    assert figures["turnover"] is None
    assert figures["annualised_return"] == -252.0


def test_a_high_slippage_is_in_the_table_of_slippages():
    assert list(small(slippage_ticks=5)["costs"]["net_at_slippage"]) == list("0123456")


def test_reasons_may_be_categories_and_trades_a_mapping_of_arrays():
    frame = table(ROWS)
    category = frame.assign(reason=frame["reason"].astype("category"))
    plain = frame.assign(reason=frame["reason"].astype(object))
    codes = [ExitReason[label.upper()] for label in frame["reason"]]
    mapping = {name: frame[name].to_numpy() for name in frame} | {"reason": np.array(codes, dtype=np.int64)}
    for trades in (category, plain, mapping):
        assert small(trades=trades) == small()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"equity": EQUITY[:0], "days": DAYS[:0], "position": None}, "no bars"),
        ({"days": DAYS[:5]}, "5 days"),
        ({"position": POSITION[:5]}, "5 positions"),
        ({"hours": HOURS[:2]}, "2 hours"),
        ({"hours": HOURS + 15}, "4 hours"),
        ({"equity": np.where(np.arange(8) == 3, np.nan, EQUITY)}, "equity nan at bar 3"),
        ({"equity": np.where(np.arange(8) == 4, np.inf, EQUITY)}, "equity inf at bar 4"),
        ({"initial_balance": 0.0}, "initial balance 0.0"),
        ({"days_per_year": math.nan}, "nan days a year"),
        ({"days": DAYS[::-1]}, "out of order"),
        ({"trades": table(ROWS).drop(columns=["mae", "reason"])}, "mae, reason"),
        ({"trades": table(ROWS).assign(reason="bored")}, "bored"),
        ({"trades": table(ROWS).assign(reason=None)}, "no reason"),
        ({"trades": table(ROWS).assign(exit_bar=8)}, "trade 0 in bars 0 to 8 of 8"),
        ({"trades": table(ROWS).assign(entry_bar=-1)}, "trade 0 in bars -1 to 1 of 8"),
        ({"trades": table(ROWS).assign(mfe=math.nan)}, "not a number"),
    ],
)
def test_input_without_meaning_is_refused(changes, text):
    with pytest.raises(DataError) as caught:
        small(**changes)
    assert text in str(caught.value)


@st.composite
def runs(draw):
    bars = draw(st.integers(1, 40))
    steps = draw(st.lists(st.integers(-400_000, 400_000), min_size=bars, max_size=bars))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 3, 40]), min_size=bars, max_size=bars))
    reasons = [reason.label for reason in ExitReason if reason]
    rows = []
    for _ in range(draw(st.integers(0, 12))):
        first, last = sorted(draw(st.tuples(st.integers(0, bars - 1), st.integers(0, bars - 1))))
        side, contracts = draw(st.sampled_from([-1, 1])), draw(st.integers(1, 5))
        ticks, reason = draw(st.integers(-500, 500)), draw(st.sampled_from(reasons))
        rows.append(
            (first, last, side, contracts, ticks, reason, draw(st.sampled_from([1.0, 100.0])), 1.5, 2.5, 1, 2e4)
        )
    days = np.datetime64("2024-01-01") + np.cumsum(gaps)
    return table(rows), 10_000.0 + np.cumsum(steps) / 100, days


@settings(max_examples=150, deadline=None)
@given(runs())
def test_invariants(run):
    trades, equity, days = run
    figures = small(trades=trades, equity=equity, days=days, position=None, hours=trades["entry_bar"].to_numpy() % 24)
    whole = figures["trades"]
    for name in ("by_side", "by_reason", "by_hour", "by_weekday", "by_month"):
        groups = figures[name].values()
        assert round(sum(group["net"] for group in groups), 6) == whole["net"]
        assert sum(group["trades"] for group in groups) == whole["count"] == len(trades)
    assert whole["wins"] + whole["losses"] <= whole["count"]
    assert round(whole["gross"] - figures["costs"]["commission"], 6) == whole["net"]
    assert figures["costs"]["net_at_slippage"]["1"] == whole["net"]
    assert figures["max_drawdown"] <= min(0.0, figures["net_profit"])
    assert -1.0 <= figures["max_drawdown_share"] <= 0.0
    assert figures["total_return"] >= -1.0
    assert figures["cagr"] is None or figures["cagr"] >= -1.0
    assert figures["cvar_95"] >= figures["var_95"] - 1e-12
    assert figures["var_99"] >= figures["var_95"] - 1e-12
    assert (figures["ruin_day"] is None) == (equity.min() > 0)
    assert figures["winning_days"] + figures["losing_days"] <= figures["days"] == len(set(days.tolist()))
    assert figures["worst_days"] == sorted(figures["worst_days"], key=lambda day: day["change"])
