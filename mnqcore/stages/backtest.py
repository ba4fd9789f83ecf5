"""The backtest stage: bars, plugins and rules through the simulator, and every figure of what came out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.simulator import Account, Outcome
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market, Tape

    Progress = Callable[[str], None]
    """Told the name of each part of the work as it begins."""

PARTS = ("bars", "plugins", "look-ahead", "simulator", "metrics", "baselines")


@attrs.frozen(kw_only=True, eq=False)
class Backtest:
    """What a backtest came to.

    `metrics`: JSON-able figures, without times of the clock. `trades`: one row a round trip. `equity`: dollars at each
    close. `features`: NAME.column. `facts`: what was run on: bars, data hash, rolls, ... `seconds`: of the whole, and
    of the kernel alone, its machine code loaded before.
    """

    strategy: Strategy
    metrics: dict[str, Any]
    trades: pd.DataFrame
    equity: pd.Series
    features: pd.DataFrame
    facts: dict[str, Any]
    seconds: dict[str, float]

    def hashes(self) -> dict[str, str]:
        """Return level -> sha256 (hex) of what was read and made: equal hashes, equal results."""
        from mnqcore.stages.fingerprint import sha256_of

        made = {"features": self.features, "trades": self.trades, "equity": self.equity.to_frame()}
        return {"data": self.facts["data_sha256"], **{name: sha256_of(table) for name, table in made.items()}}


def backtest(strategy: Strategy, progress: Progress = lambda _part: None) -> Backtest:
    """Run a strategy over all bars of its data source.

    Raises:
        DataError: there are no usable bars.
        PluginError: a plugin raised, broke its contract, or looks into the future.
    """
    import pandas as pd

    from mnqcore.simulator import Account, outcome, rulebook
    from mnqcore.stages.lookahead import refuse_look_ahead
    from mnqcore.tape import build

    began = time.perf_counter()
    progress("bars")
    market = _market(strategy)
    facts = _facts(strategy, market)
    progress("plugins")
    tape = build(strategy, market)
    progress("look-ahead")
    seen = refuse_look_ahead(strategy, market.view)
    progress("simulator")
    law = rulebook(strategy.instrument, strategy.costs, strategy.risk)
    account = Account(market.tape, market.orders, law, initial_balance=strategy.costs.initial_balance)
    _load_machine_code(market, law)
    kernel = time.perf_counter()
    curve = account.run(tape.actions, size_of=tape.size_of)
    kernel = time.perf_counter() - kernel
    out = outcome(account, curve, market.times, market.contracts, strategy.instrument)
    _refuse_false_books(account)
    progress("metrics")
    metrics = _metrics(strategy, tape, account, out, progress)
    return Backtest(
        strategy=strategy,
        metrics=metrics,
        trades=out.trades,
        equity=pd.Series(out.equity, index=market.times, name="equity"),
        features=tape.features,
        facts=facts | {"look_ahead_bars": seen},
        seconds={"total": time.perf_counter() - began, "kernel": kernel},
    )


def _market(strategy: Strategy) -> Market:
    from mnqcore.api.values import BarRequest
    from mnqcore.market.bars import bar_size
    from mnqcore.tape import calls, lay

    size = bar_size(strategy.bar_size)
    session = "rth" if strategy.session.rth else "full"
    bars = calls.bars(strategy.data, BarRequest(instrument=strategy.instrument, bar_size=size, session=session))
    return lay(bars, strategy.instrument, strategy.session, size)


def _load_machine_code(market: Market, law: NDArray[np.void]) -> None:
    """Run two bars, so that the kernel is timed and not the loading of its code from disk."""
    import numpy as np

    from mnqcore.simulator import Account

    account = Account(market.tape[:2], market.orders[:2], law, initial_balance=1.0)
    account.run(np.zeros(2, np.int8), size_of=lambda entry: np.zeros(len(entry.side), np.int64))


def _refuse_false_books(account: Account) -> None:
    """Stop if the ledger does not add up: a bug of mnq, which no figure may hide."""
    rows, led = account.trades[0], account.ledger[0]
    earned = int(rows["gross"].sum() - rows["commission"].sum())
    if int(led["equity"] - led["initial"]) != earned:
        raise MnqError(
            "the ledger does not add up: this is a bug in mnq",
            found=f"equity changed by {led['equity'] - led['initial']}, trades made {earned} (micro-units)",
        )


def _metrics(strategy: Strategy, tape: Tape, account: Account, out: Outcome, progress: Progress) -> dict[str, Any]:
    from mnqcore.metrics import returns, risk, summarise

    market, balance = tape.market, strategy.costs.initial_balance
    per_year = market.calendar.days_per_year
    figures = summarise(
        out.trades,
        out.equity,
        market.days,
        initial_balance=balance,
        days_per_year=per_year,
        instrument=strategy.instrument,
        slippage_ticks=strategy.costs.slippage_ticks,
        position=_position(account, len(market.tape)),
        hours=_hours(out.trades, strategy.instrument.timezone),
    )
    days, daily = returns.daily_equity(out.equity, market.days)
    interval = risk.sharpe_interval(returns.daily_returns(daily, balance), per_year, seed=strategy.seed)
    progress("baselines")
    return {
        "strategy": strategy.name,
        "digest": strategy.digest(),
        **figures,
        "sharpe_interval": None if interval is None else list(interval),
        "denied": out.denied,
        "counts": out.counts,
        "ended_by_max_loss": None if out.ended_at is None else market.times[out.ended_at].isoformat(),
        "chance_of_max_loss": _chance(strategy, market, out, days, daily),
        "reward": _reward(strategy, tape, account),
        "baselines": _baselines(strategy, tape, account, figures["net_profit"]),
    }


def _chance(
    strategy: Strategy, market: Market, out: Outcome, days: NDArray[np.datetime64], daily: NDArray[np.float64]
) -> float | None:
    """Return the share of resampled years that meet the loss limit; None where there is none, or too few days."""
    import numpy as np

    from mnqcore.metrics import chance_of_loss

    if strategy.risk.max_loss is None:
        return None
    changes = np.diff(daily, prepend=strategy.costs.initial_balance)
    if out.ended_at is not None:  # the days after the run's end say nothing
        changes = changes[days <= market.days[out.ended_at]]
    year = round(market.calendar.days_per_year)
    return chance_of_loss(changes, strategy.risk.max_loss, days=year, seed=strategy.seed)


def _baselines(strategy: Strategy, tape: Tape, account: Account, net_profit: float) -> dict[str, Any]:
    from mnqcore.metrics import baselines

    market, balance = tape.market, strategy.costs.initial_balance
    drawn = baselines.random_entries(
        market, account.law, balance, tape.size_of, account.trades[0], net_profit, seed=strategy.seed
    )
    return {
        "flat": attrs.asdict(baselines.flat()),
        "buy_and_hold": attrs.asdict(baselines.buy_and_hold(market, account.law, balance)),
        "random": None if drawn is None else attrs.asdict(drawn),
    }


def _reward(strategy: Strategy, tape: Tape, account: Account) -> dict[str, Any] | None:
    """Score the run by the strategy's reward, step by step as training would; None where the file names none."""
    import numpy as np

    from mnqcore.simulator import Account
    from mnqcore.tape import calls

    if strategy.reward is None:
        return None
    market, reward = tape.market, strategy.reward.build()
    market.orders["reward_signal"] = calls.prepared(strategy.reward, reward, market.view)
    lane = Account(market.tape, market.orders, account.law, initial_balance=strategy.costs.initial_balance)
    if hasattr(reward, "reset"):
        reward.reset(np.ones(1, np.bool_))
    total, steps = 0.0, 0
    while not lane.ledger["done"][0]:
        step = lane.step(tape.actions[lane.ledger["bar"]], tape.size_of)
        total += float(calls.rewards(strategy.reward, reward, step)[0])
        steps += 1
    return {"name": strategy.reward.use, "sum": total, "per_bar": total / steps, "steps": steps}


def _position(account: Account, bars: int) -> NDArray[np.int64]:
    """Return signed contracts at each close."""
    import numpy as np

    rows = account.trades[0]
    change = np.zeros(bars + 1, np.int64)
    sized = rows["side"] * rows["contracts"]
    np.add.at(change, rows["entry_bar"], sized)
    np.add.at(change, rows["exit_bar"], -sized)
    return np.cumsum(change[:-1])


def _hours(trades: pd.DataFrame, timezone: str) -> NDArray[np.int64]:
    import numpy as np
    import pandas as pd

    entered = pd.DatetimeIndex(trades["entry_time"]).tz_convert(timezone)
    return np.asarray(entered.hour, dtype=np.int64)


def _facts(strategy: Strategy, market: Market) -> dict[str, Any]:
    from mnqcore.stages.fingerprint import sha256_of

    raw = market.raw
    return {
        "bars": len(raw),
        "first": raw.index[0].isoformat(),
        "last": raw.index[-1].isoformat(),
        "trading_days": int(market.tape["day"][-1]) + 1,
        "outside_session": market.outside,
        "data_sha256": sha256_of(raw),
        "synthetic": bool(getattr(strategy.data.cls, "synthetic", False)),
        "rolls": [
            {
                "time": roll.time.isoformat(),
                "old": roll.old,
                "new": roll.new,
                "ratio": roll.ratio,
                "overlap": roll.overlap,
            }
            for roll in market.rolls
        ],
    }
