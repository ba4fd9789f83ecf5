"""The peers' side, run in their own environment: `python -m benchmarks.peers FILE` prints JSON, a line a round.

Each peer gets the same bars and the same signals, in the form it wants them, made outside the timing; it hands back its
trades and its statistics. The bare loop takes its turn between them, so that the two environments can be compared.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.timing import LOOP_THERE, Contestant, one_round
from benchmarks.workload import (
    COMMISSION,
    INITIAL_BALANCE,
    POINT_VALUE,
    SLIPPAGE_TICKS,
    STOP_TICKS,
    TICK,
    Loop,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

_STOP = STOP_TICKS * TICK
_LOOP_REPEAT = 20
ENV_STEPS, ENV_FEATURES, ENV_LOOKBACK = 2_000, 20, 50
"""Steps of an environment a round, and the shape of its windows."""


def backtesting(work: Workload) -> Callable[[Any], tuple[int, object]]:
    """Return a run of backtesting.py: a Strategy that reads the signals, its stop given as a price with each order.

    One contract is two units at $2 a point; `spread` is the slippage, which it takes as a share and at entries alone;
    the commission is a fixed sum an order, on both sides.
    """
    from backtesting import Backtest, Strategy

    frame = _naive(work).rename(columns=str.capitalize)
    signals, closes = work.signals.tolist(), work.close.tolist()

    class Signals(Strategy):  # type: ignore[misc,unused-ignore]
        def init(self) -> None:
            pass

        def next(self) -> None:
            at = len(self.data) - 1
            signal = signals[at]
            if signal == 1:
                self.buy(size=POINT_VALUE, sl=closes[at] - _STOP)
            elif signal == 2:
                self.sell(size=POINT_VALUE, sl=closes[at] + _STOP)

    def run(_state: object) -> tuple[int, object]:
        engine = Backtest(
            frame,
            Signals,
            cash=INITIAL_BALANCE,
            spread=SLIPPAGE_TICKS * TICK / work.close[0],
            commission=(COMMISSION, 0.0),
            exclusive_orders=True,
            finalize_trades=True,
        )
        stats = engine.run()
        return len(stats["_trades"]), stats

    return run


def vectorbt(work: Workload) -> Callable[[Any], tuple[int, object]]:
    """Return a run of vectorbt: `from_signals`, its trade records and `stats()`.

    Signals are moved on one bar and filled at the open; the stop is a share of the fill price and is looked for from
    the bar after the entry on; a reversal is one order; slippage is a share of the price.
    """
    import vectorbt as vbt

    frame = _naive(work)
    later = np.append(np.int8(0), work.signals[:-1])

    def run(_state: object) -> tuple[int, object]:
        portfolio = vbt.Portfolio.from_signals(
            frame["close"],
            entries=later == 1,
            short_entries=later == 2,
            price=frame["open"],
            open=frame["open"],
            high=frame["high"],
            low=frame["low"],
            size=POINT_VALUE,
            fixed_fees=COMMISSION,
            slippage=SLIPPAGE_TICKS * TICK / work.close[0],
            sl_stop=_STOP / work.close,
            stop_entry_price="fillprice",
            stop_exit_price="stopmarket",
            upon_opposite_entry="reverse",
            init_cash=INITIAL_BALANCE,
            freq="5min",
        )
        stats = portfolio.stats()
        return len(portfolio.trades.records), stats

    return run


def gym_trading_env(work: Workload) -> Callable[[Any], tuple[int, object]]:
    """Return ENV_STEPS steps of gym-trading-env: positions -1, 0, 1, a fee, windows of the same 20 features.

    It has no stop, no margin, no session and no sizes; fees and positions are shares of the portfolio.
    """
    from gym_trading_env.environments import TradingEnv

    warnings.simplefilter("ignore")  # importing it made errors of everybody's warnings
    frame = _naive(work)
    drawn = np.random.default_rng(7).normal(size=(len(frame), ENV_FEATURES)).astype(np.float32)
    columns = {f"feature_{number}": drawn[:, number] for number in range(ENV_FEATURES)}
    env = TradingEnv(frame.assign(**columns), positions=[-1, 0, 1], windows=ENV_LOOKBACK, trading_fees=1e-5, verbose=0)
    chosen = np.random.default_rng(5).choice([0, 1, 2], size=ENV_STEPS, p=[0.1, 0.8, 0.1]).tolist()
    env.reset(seed=1)

    def run(_state: object) -> tuple[int, object]:
        over = 0
        for position in chosen:
            _, _, done, truncated, _ = env.step(position)
            if done or truncated:
                over += 1
                env.reset()
        return over, None

    return run


def _naive(work: Workload) -> pd.DataFrame:
    """Return bars without a time zone: with one, each stamp becomes an object and vectorbt takes 20 times as long."""
    return work.frame().tz_localize(None)


def main() -> None:
    """Say versions and numbers of trades, then time one round for each line read, until there is no more."""
    warnings.simplefilter("ignore")  # the peers' own affair
    work = Workload.read(Path(sys.argv[1]))
    runs = {"backtesting": backtesting(work), "vectorbt": vectorbt(work), "gym-trading-env": gym_trading_env(work)}
    facts = {name: {"version": version(name), "trades": run(None)[0]} for name, run in runs.items()}
    contestants = {name: Contestant(run) for name, run in runs.items()}
    contestants |= {LOOP_THERE: Contestant(Loop(work).run, repeat=_LOOP_REPEAT)}
    print(json.dumps(facts), flush=True)
    for _line in sys.stdin:
        print(json.dumps(one_round(contestants)), flush=True)


if __name__ == "__main__":
    main()
