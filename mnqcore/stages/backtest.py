"""The backtest stage: a strategy through the simulator, and every figure of what came out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import pandas as pd

    from mnqcore.api.values import Floats
    from mnqcore.simulator import Outcome
    from mnqcore.stages.play import Play
    from mnqcore.stages.prepare import Prepared, Progress
    from mnqcore.strategy.model import Strategy

PARTS = ("bars", "plugins", "look-ahead", "simulator", "metrics", "baselines")


@attrs.frozen(kw_only=True, eq=False)
class Backtest:
    """What a backtest came to.

    `metrics`: JSON-able figures, without times of the clock. `trades`: one row a round trip. `equity`: dollars at each
    close. `returns`: of each trading day. `features`: NAME.column. `facts`: what was run on: bars, data hash, rolls,
    ... `seconds`: of the whole, and of the kernel alone, its machine code loaded before. `model`: what is known of the
    model that traded, None for a rule.
    """

    strategy: Strategy
    metrics: dict[str, Any]
    trades: pd.DataFrame
    equity: pd.Series
    returns: Floats
    features: pd.DataFrame
    facts: dict[str, Any]
    seconds: dict[str, float]
    model: dict[str, Any] | None = None

    def hashes(self) -> dict[str, str]:
        """Return level -> sha256 (hex) of what was read and made: equal hashes, equal results."""
        from mnqcore.stages.fingerprint import sha256_of

        made = {"features": self.features, "trades": self.trades, "equity": self.equity.to_frame()}
        return {"data": self.facts["data_sha256"], **{name: sha256_of(table) for name, table in made.items()}}


def backtest(strategy: Strategy, progress: Progress = lambda _part: None) -> Backtest:
    """Run a rule over all bars of its data source.

    Raises:
        DataError: there are no usable bars.
        PluginError: a plugin raised, broke its contract, or looks into the future.
    """
    from mnqcore.stages.play import play_rule
    from mnqcore.stages.prepare import prepare

    began = time.perf_counter()
    prepared = prepare(strategy, progress)
    progress("simulator")
    return assess(prepared, play_rule(prepared), progress, began)


def assess(
    prepared: Prepared,
    play: Play,
    progress: Progress,
    began: float,
    *,
    metrics: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> Backtest:
    """Return every figure of a play.

    Args:
        prepared: the strategy on its bars.
        play: what was traded.
        progress: told "metrics" and "baselines".
        began: `time.perf_counter()` when the work began.
        metrics: further figures of the model that traded.
        facts: what is known of that model; None for a rule.
    """
    import pandas as pd

    from mnqcore.stages.figures import baselines, daily_returns, figures, reward

    strategy, out = prepared.strategy, _outcome_of(prepared, play)
    progress("metrics")
    returns = daily_returns(strategy, play)
    found = figures(prepared, play, out, returns)
    progress("baselines")
    every = {
        "strategy": strategy.name,
        "digest": strategy.digest(),
        **found,
        "reward": reward(prepared, play),
        "baselines": baselines(prepared, play, found["net_profit"]),
        **(metrics or {}),
    }
    return Backtest(
        strategy=strategy,
        metrics=every,
        trades=out.trades,
        equity=pd.Series(out.equity, index=play.market.times, name="equity"),
        returns=returns,
        features=prepared.tape.features,
        facts=prepared.facts,
        seconds={"total": time.perf_counter() - began, "kernel": play.seconds},
        model=facts,
    )


def _outcome_of(prepared: Prepared, play: Play) -> Outcome:
    """Return a play's trades and equity as tables."""
    from mnqcore.simulator import outcome

    market = play.market
    return outcome(play.account, play.curve, market.times, market.contracts, prepared.strategy.instrument)
