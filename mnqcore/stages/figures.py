"""Every figure of a play: its own, and those of what it must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.values import Floats
    from mnqcore.simulator import Account, Outcome
    from mnqcore.stages.play import Play
    from mnqcore.stages.prepare import Prepared
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market


def daily_returns(strategy: Strategy, play: Play) -> Floats:
    """Return what each trading day of a play earned, as a share of the equity that it began with."""
    from mnqcore.metrics import daily_equity, returns
    from mnqcore.simulator.account import dollars

    _, daily = daily_equity(dollars(play.curve[0]), play.market.days)
    return returns.daily_returns(daily, strategy.costs.initial_balance)


def figures(prepared: Prepared, play: Play, out: Outcome, returns: Floats) -> dict[str, Any]:
    """Return the figures of a play as plain JSON: returns, risk, trades, costs, what was denied.

    Args:
        prepared: the strategy on its bars.
        play: what was traded.
        out: its trades and equity as tables.
        returns: what `daily_returns` says of it.
    """
    from mnqcore.metrics import risk, summarise

    strategy, market = prepared.strategy, play.market
    balance, per_year = strategy.costs.initial_balance, market.calendar.days_per_year
    found = summarise(
        out.trades,
        out.equity,
        market.days,
        initial_balance=balance,
        days_per_year=per_year,
        instrument=strategy.instrument,
        slippage_ticks=strategy.costs.slippage_ticks,
        position=_position(play.account, len(market.tape)),
        hours=hours(out.trades, strategy.instrument.timezone),
    )
    interval = risk.sharpe_interval(returns, per_year, seed=strategy.seed)
    return {
        **found,
        "sharpe_interval": None if interval is None else list(interval),
        "denied": out.denied,
        "counts": out.counts,
        "ended_by_max_loss": None if out.ended_at is None else market.times[out.ended_at].isoformat(),
        "chance_of_max_loss": _chance(strategy, market, out),
    }


def baselines(prepared: Prepared, play: Play, net_profit: float) -> dict[str, Any]:
    """Return what a play must beat on the same bars: doing nothing, holding, and its own habits at random."""
    from mnqcore.metrics import baselines

    strategy, market = prepared.strategy, play.market
    balance = strategy.costs.initial_balance
    drawn = baselines.random_entries(
        market, prepared.law, balance, prepared.tape.size_of, play.account.trades[0], net_profit, seed=strategy.seed
    )
    return {
        "flat": attrs.asdict(baselines.flat()),
        "buy_and_hold": attrs.asdict(baselines.buy_and_hold(market, prepared.law, balance)),
        "random": None if drawn is None else attrs.asdict(drawn),
    }


def reward(prepared: Prepared, play: Play) -> dict[str, Any] | None:
    """Score a play by the strategy's reward, step by step as in training; None where the file names none."""
    import numpy as np

    from mnqcore.simulator import Account
    from mnqcore.tape import calls

    choice, market = prepared.strategy.reward, play.market
    if choice is None:
        return None
    judge = calls.Judge(choice)
    lane = Account(market.tape, market.orders, prepared.law, initial_balance=prepared.strategy.costs.initial_balance)
    judge.reset(np.ones(1, np.bool_))
    total, steps = 0.0, 0
    while not lane.ledger["done"][0]:
        step = lane.step(play.actions[lane.ledger["bar"]], prepared.tape.size_of)
        total += float(calls.rewards(judge, step)[0])
        steps += 1
        if not np.isfinite(total):
            raise judge.refuse(np.array([total]), step)
    return {"name": choice.use, "sum": total, "per_bar": total / steps, "steps": steps}


def _chance(strategy: Strategy, market: Market, out: Outcome) -> float | None:
    """Return the share of resampled years that meet the loss limit; None where there is none, or too few days."""
    import numpy as np

    from mnqcore.metrics import chance_of_loss, daily_equity

    if strategy.risk.max_loss is None:
        return None
    days, daily = daily_equity(out.equity, market.days)
    changes = np.diff(daily, prepend=strategy.costs.initial_balance)
    if out.ended_at is not None:  # the days after the run's end say nothing
        changes = changes[days <= market.days[out.ended_at]]
    year = round(market.calendar.days_per_year)
    return chance_of_loss(changes, strategy.risk.max_loss, days=year, seed=strategy.seed)


def _position(account: Account, bars: int) -> NDArray[np.int64]:
    """Return signed contracts at each close."""
    import numpy as np

    rows = account.trades[0]
    change = np.zeros(bars + 1, np.int64)
    sized = rows["side"] * rows["contracts"]
    np.add.at(change, rows["entry_bar"], sized)
    np.add.at(change, rows["exit_bar"], -sized)
    return np.cumsum(change[:-1])


def hours(trades: pd.DataFrame, timezone: str) -> NDArray[np.int64]:
    """Return the hour of each trade's entry in a time zone, 0..23."""
    import numpy as np
    import pandas as pd

    entered = pd.DatetimeIndex(trades["entry_time"]).tz_convert(timezone)
    return np.asarray(entered.hour, dtype=np.int64)
