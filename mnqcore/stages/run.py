"""`run`: stages of a strategy from its file to a run on disk. The command line is a thin face of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import PluginError, UsageError, suggest
from mnqcore.stages.backtest import Backtest, backtest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from mnqcore.plugins import Plugins
    from mnqcore.runs import Draft, Run
    from mnqcore.strategy.model import Strategy

_KEPT_OF_CHOICE = ("use", "distribution", "version", "params")
_LOG = logging.getLogger(__name__)

STAGES = ("backtest",)


@attrs.frozen(kw_only=True, eq=False)
class Result:
    """What `run` returns: figures, tables, and where they lie on disk.

    `metrics`: name -> figure. `trades`: one row a round trip. `equity`: dollars at each close. `features`: NAME.column.
    """

    metrics: dict[str, Any]
    trades: pd.DataFrame
    equity: pd.Series
    features: pd.DataFrame
    run: Run


def run(
    file: str | Path,
    strategy: str | None = None,
    stages: str | Sequence[str] = "backtest",
    set: Mapping[str, Any] | Sequence[str] = (),  # noqa: A002 - the word of the command line
    *,
    plugins: Plugins | None = None,
    runs_dir: str | Path = "runs",
    progress: Callable[[str], None] = lambda _part: None,
) -> Result:
    """Run stages of a strategy and keep everything in a run directory.

    Args:
        file: the strategy file.
        strategy: its name; a file with one strategy needs none.
        stages: "backtest", or several in order.
        set: overrides, as {"bracket.stop_ticks": 100} or ["bracket.stop_ticks=100"].
        plugins: loaded plugins; None loads the installed ones.
        runs_dir: where run directories go.
        progress: told the name of each part of the work as it begins.

    Raises:
        UsageError: no such stage.
        StrategyError: the file is invalid; nothing was run.
        DataError, PluginError: the run failed; nothing was kept.
    """
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load

    _refuse_unknown(stages)
    found = plugins or load_plugins()
    return run_strategy(load(file, strategy, found, _overrides(set)), found, runs_dir=runs_dir, progress=progress)


def run_strategy(
    strategy: Strategy, plugins: Plugins, *, runs_dir: str | Path, progress: Callable[[str], None]
) -> Result:
    """Backtest a loaded strategy and keep the run; where anything fails before its end, nothing is kept."""
    from mnqcore.runs import Draft

    draft = Draft(base=Path(runs_dir), strategy=strategy.name, digest=strategy.digest())
    draft.begin()
    try:
        made = _observed(strategy, plugins, draft, progress)
        kept = draft.keep(
            resolved=strategy.to_toml(),
            metrics=made.metrics,
            tables={"trades": made.trades, "equity": made.equity.to_frame()},
            manifest=_manifest(made),
            plugin_files=plugins.files,
        )
    except BaseException:
        draft.discard()
        raise
    result = Result(metrics=made.metrics, trades=made.trades, equity=made.equity, features=made.features, run=kept)
    try:
        plugins.run_finished(kept, result)
    except PluginError as error:  # the run itself is whole
        raise PluginError(error.what, **error.facts, kept=str(kept.path)) from error
    return result


def _observed(strategy: Strategy, plugins: Plugins, draft: Draft, progress: Callable[[str], None]) -> Backtest:
    """Return the backtest, having told the observers of its beginning and of each trade."""

    def noted(part: str) -> None:
        draft.log(part)
        _LOG.info("%s: %s", strategy.name, part)
        progress(part)

    draft.log("started", stage="backtest")
    plugins.run_started(draft)
    made = backtest(strategy, noted)
    if "trade_closed" in plugins.observed:
        for trade in made.trades.to_dict("records"):
            plugins.trade_closed(draft, {str(key): value for key, value in trade.items()})
    draft.log("finished", seconds=made.seconds["total"])
    return made


def _manifest(made: Backtest) -> dict[str, Any]:
    strategy = made.strategy
    return {
        "stage": "backtest",
        "seed": strategy.seed,
        "instrument": attrs.asdict(strategy.instrument),
        "plugins": {
            key: attrs.asdict(choice, filter=lambda field, _: field.name in _KEPT_OF_CHOICE)
            for key, choice in strategy.choices.items()
        },
        "data": made.facts,
        "settings": {name: attrs.asdict(getattr(strategy, name)) for name in ("costs", "risk", "session")},
        "bar_size": strategy.bar_size,
        "hashes": made.hashes(),
        "seconds": {name: round(seconds, 6) for name, seconds in made.seconds.items()},
        "folder": str(Path.cwd()),
    }


def _refuse_unknown(stages: str | Sequence[str]) -> None:
    asked = [stages] if isinstance(stages, str) else list(stages)
    names = [name.strip() for text in asked for name in text.split(",")]
    for name in names:
        if name not in STAGES:
            close = suggest(name, STAGES)
            known = "this version of mnq has: " + ", ".join(STAGES)
            raise UsageError(f"no stage named {name!r}", next=f"did you mean {close}?" if close else known)


def _overrides(given: Mapping[str, Any] | Sequence[str]) -> list[str]:
    if not isinstance(given, Mapping):
        return list(given)
    from mnqcore.strategy.resolved import value

    try:
        return [f"{key}={value(setting)}" for key, setting in given.items()]
    except TypeError as error:  # None, or an object that TOML has no word for
        raise UsageError("set holds a value that TOML cannot hold", found=str(error)) from error
