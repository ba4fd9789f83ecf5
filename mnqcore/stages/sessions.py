"""Sessions as `run` sees them: what may be asked of one, and what is returned of one that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore.errors import MnqError, UsageError, require
from mnqcore.stages.watching import ignored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnqcore.plugins import Plugins
    from mnqcore.stages.options import Options
    from mnqcore.stages.result import Result
    from mnqcore.stages.trade import Traded
    from mnqcore.strategy.model import Strategy


def refuse_impossible(strategy: Strategy, options: Options) -> None:
    """Refuse what a session cannot do, before any work.

    Raises:
        UsageError: says what to leave out or to add.
        ExtraMissing: the libraries of a learner are not installed.
    """
    from mnqcore.strategy.arming import unprotected

    given = {"--resume": options.resume, "--seeds": options.seeds > 1, "--tensorboard": options.tensorboard}
    given |= {"--in-sample": options.in_sample, "--model": options.model and not strategy.learns}
    if wrong := [name for name, found in given.items() if found]:
        raise UsageError(f"{', '.join(wrong)}: nothing is trained or tested here", next="leave it out")
    if options.use_stop_loss and (complaint := unprotected(strategy, "--use-stop-loss")):
        raise UsageError(complaint, next="take bracket fixed or atr")
    _refuse_feeds(strategy, options.mode or strategy.trade.mode)
    if strategy.learns and options.model is None:
        raise UsageError(
            f"agent '{strategy.agent.use}' must be trained before it can trade",
            next="--model RUN, a run of --stage train",
        )
    if strategy.learns:
        require("rl")


def _refuse_feeds(strategy: Strategy, mode: str) -> None:
    """Refuse feeds with data of their own where bars come live: there is one stream, that of the strategy's bars."""
    own = [name for name, feed in strategy.feeds.items() if feed.data]
    if own and mode != "replay" and not strategy.replays:
        raise UsageError(
            "a live session does not read feeds with data of their own yet",
            found=f"feed {', '.join(own)}, broker {strategy.trade.broker.use}",
            next="--stage backtest, or a feed that is made of the strategy's own bars",
        )


def refuse_idle(options: Options) -> None:
    """Refuse options of a session where none is run."""
    given = {"--mode": options.mode, "--use-stop-loss": options.use_stop_loss}
    given |= {"--max-position": options.max_position is not None}
    given |= {"--max-daily-loss": options.max_daily_loss is not None}
    if wrong := [name for name, found in given.items() if found]:
        raise UsageError(f"{', '.join(wrong)}: nothing is traded", next="--stage trade, or leave it out")


def sit(strategy: Strategy, plugins: Plugins, base: Path, progress: Callable[[str], None], options: Options) -> Result:
    """Run a session and return what came of it.

    Raises:
        MnqError: it was stopped before its end; says how to go on. And all that `trade` raises.
    """
    from mnqcore.stages.trade import trade

    found = trade(strategy, plugins, base, options, progress)
    if found.run is None:
        raise MnqError(
            "the session was stopped before its end",
            why=found.why,
            found=found.status["protection"]["text"],
            kept=str(found.folder),
            next="the same call goes on with it",
        )
    result = result_of(found)
    ignored(lambda: plugins.run_finished(result.run, result))
    return result


def result_of(traded: Traded) -> Result:
    """Return the result of a session that has ended; features are in its journal, beside each decision."""
    import pandas as pd

    from mnqcore.stages.result import Result

    run = traded.run
    assert run is not None
    equity = run.equity
    return Result(
        metrics=run.metrics, trades=run.trades, equity=equity, features=pd.DataFrame(index=equity.index), run=run
    )
