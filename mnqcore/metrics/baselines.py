"""What a strategy must beat: doing nothing, holding one contract, and its own trading habits on random bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import numpy as np

from mnqcore.api.values import Action, ExitReason
from mnqcore.metrics import returns, risk
from mnqcore.metrics.drawdown import max_drawdown, valleys
from mnqcore.rules import OFF
from mnqcore.simulator.account import Account, dollars

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnqcore.simulator.account import Records, SizeOf
    from mnqcore.tape.market import Market

    Ints = NDArray[np.int64]

SEEDS = 100
_LANES = 20  # at a time: bounds memory to 20 equity curves


@attrs.frozen(kw_only=True)
class Baseline:
    """One curve's figures: net profit and max drawdown in dollars (drawdown <= 0), daily Sharpe ratio, trades."""

    net_profit: float
    max_drawdown: float
    sharpe: float | None
    trades: int


@attrs.frozen(kw_only=True)
class RandomEntries:
    """The strategy's own entries on random bars: median, 5 % and 95 % over seeds, and the strategy's percentile.

    `percentile` is the share of seeds, in percent, whose net profit is below the strategy's (ties count half).
    """

    seeds: int
    median: Baseline
    low: Baseline
    high: Baseline
    percentile: float


def flat() -> Baseline:
    """Return the figures of never trading."""
    return Baseline(net_profit=0.0, max_drawdown=0.0, sharpe=None, trades=0)


def buy_and_hold(market: Market, law: Records, initial_balance: float) -> Baseline:
    """Return the figures of one contract held through sessions, with costs and rolls, without bracket or limits."""
    tape, orders, held = market.tape.copy(), market.orders.copy(), law.copy()
    tape["flat"][tape["flat"] == ExitReason.SESSION] = 0
    tape["missed"] = tape["rolled"]
    tape["late"] = 0
    orders["stop"] = orders["target"] = 0
    orders["sizer_signal"] = 0.0
    held["max_position"], held["margin"], held["cooldown_bars"] = 1, 1, 0
    held["max_daily_loss"] = held["max_loss"] = held["max_trades_per_day"] = OFF
    account = Account(tape, orders, held, initial_balance=initial_balance)
    equity = account.run(np.full(len(tape), Action.BUY, np.int8), sizes=np.ones(len(tape), np.int64))
    return curve_figures(market, dollars(equity[0]), initial_balance, len(account.trades[0]))


def random_entries(
    market: Market, law: Records, initial_balance: float, size_of: SizeOf, trades: Records, net_profit: float,
    *, seed: int, seeds: int = SEEDS,
) -> RandomEntries | None:  # fmt: skip
    """Place the strategy's trades on uniformly drawn bars, with its own bracket, sizer, rules and costs.

    Number of entries, sides and holding times are the strategy's; only the bars are drawn, one lane a seed. None
    without trades.

    Args:
        market: the strategy's own, distances and sizer signals filled in.
        law: its rules.
        initial_balance: dollars.
        size_of: its sizer.
        trades: its TRADE records.
        net_profit: what it made, dollars.
        seed: of the first lane.
        seeds: number of lanes.
    """
    if len(trades) == 0:
        return None
    actions = np.stack(
        [_scattered(trades, len(market.tape), np.random.default_rng([seed, lane])) for lane in range(seeds)]
    )
    found: list[Baseline] = []
    for first in range(0, seeds, _LANES):
        lanes = actions[first : first + _LANES]
        account = Account(market.tape, market.orders, law, initial_balance=initial_balance, lanes=len(lanes))
        curves = account.run(lanes, size_of=size_of)
        counts = [len(rows) for rows in account.trades]
        found += [
            curve_figures(market, dollars(curve), initial_balance, n) for curve, n in zip(curves, counts, strict=True)
        ]
    nets = np.array([one.net_profit for one in found])
    below = np.count_nonzero(nets < net_profit) + 0.5 * np.count_nonzero(nets == net_profit)
    low, median, high = (_quantile(found, share) for share in (0.05, 0.5, 0.95))
    return RandomEntries(seeds=seeds, median=median, low=low, high=high, percentile=float(100.0 * below / seeds))


def _scattered(trades: Records, bars: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Return actions that open the given trades on random bars, never two at once.

    Each arrangement is as likely as any other. A strategy that is nearly always in the market leaves no gaps: its
    holding times are then shortened alike, to one bar at least, and what still finds no room is left out.
    """
    order = rng.permutation(len(trades))[: (bars - 1) // 2]
    longer = np.maximum(trades["exit_bar"] - trades["entry_bar"], 1)[order] - 1
    spare = bars - 1 - 2 * len(order)  # a trade takes the bar of its order and one bar at least
    if longer.sum() > spare:
        longer = longer * spare // longer.sum()
    places = len(order) + spare - int(longer.sum())
    before = np.sort(rng.choice(places, len(order), replace=False, shuffle=False)) - np.arange(len(order))
    start = before + np.cumsum(longer + 2) - (longer + 2)
    actions = np.zeros(bars, np.int8)
    actions[start] = np.where(trades["side"][order] > 0, Action.BUY, Action.SELL)
    actions[start + longer + 1] = Action.CLOSE
    return actions


def curve_figures(market: Market, equity: NDArray[np.float64], initial_balance: float, trades: int) -> Baseline:
    """Return the few figures of an equity curve, dollars at each close of the market's bars."""
    _, daily = returns.daily_equity(equity, market.days)
    changes = returns.daily_returns(daily, initial_balance)
    return Baseline(
        net_profit=round(float(equity[-1]) - initial_balance, 6),
        max_drawdown=max_drawdown(valleys(equity, initial_balance)),
        sharpe=risk.sharpe(changes, market.calendar.days_per_year),
        trades=trades,
    )


def _quantile(found: list[Baseline], share: float) -> Baseline:
    """Return each figure's own quantile; a lane without a Sharpe ratio is left out of its quantile."""
    sharpes = [one.sharpe for one in found if one.sharpe is not None]
    return Baseline(
        net_profit=round(float(np.quantile([one.net_profit for one in found], share)), 6),
        max_drawdown=round(float(np.quantile([one.max_drawdown for one in found], share)), 6),
        sharpe=float(np.quantile(sharpes, share)) if sharpes else None,
        trades=int(np.quantile([one.trades for one in found], share)),
    )
