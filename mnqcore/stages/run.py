"""`run`: stages of a strategy from its file to a run on disk. The command line is a thin face of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import PluginError, UsageError, require
from mnqcore.plugins.watch import watched
from mnqcore.stages.backtest import Backtest, backtest
from mnqcore.stages.failure import set_aside
from mnqcore.stages.options import Options, stages_of
from mnqcore.stages.result import Result, described
from mnqcore.stages.sessions import refuse_idle, refuse_impossible, sit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnqcore.plugins import Plugins
    from mnqcore.runs import Draft
    from mnqcore.strategy.model import Strategy

_LOG = logging.getLogger(__name__)


def run(
    file: str | Path,
    strategy: str | None = None,
    stages: str | Sequence[str] = "backtest",
    set: Mapping[str, Any] | Sequence[str] = (),  # noqa: A002 - the word of the command line
    *,
    plugins: Plugins | None = None,
    runs_dir: str | Path = "runs",
    progress: Callable[[str], None] = lambda _part: None,
    options: Options | None = None,
) -> Result:
    """Run stages of a strategy and keep everything in a run directory.

    Args:
        file: the strategy file.
        strategy: its name; a file with one strategy needs none.
        stages: "backtest", "train", "train,backtest", or "trade", which runs alone.
        set: overrides, as {"bracket.stop_ticks": 100} or ["bracket.stop_ticks=100"].
        plugins: loaded plugins; None loads the installed ones.
        runs_dir: where run directories go.
        progress: told the name of each part of the work as it begins.
        options: seeds, the model to backtest, what to resume, ...

    Raises:
        UsageError: no such stage, or one that this agent has not.
        StrategyError: the file is invalid; nothing was run.
        DataError: the bars are missing or bad; nothing was kept.
        PluginError: a plugin is at fault; what is left of the run was kept where the error says.
        MnqError: the training broke down; what resumes it was kept where the error says. Or a session was stopped
            before its end, and goes on with the same call.
    """
    asked = asked_for(file, strategy, stages, set, plugins, options)
    if asked.stages == ("trade",):
        return sit(asked.strategy, asked.plugins, Path(runs_dir), progress, asked.options)
    return _run(asked.strategy, asked.plugins, Path(runs_dir), progress, asked.stages, asked.options)


@attrs.frozen(kw_only=True, eq=False)
class Asked:
    """What a command asks for, found and seen to be possible."""

    strategy: Strategy
    plugins: Plugins
    stages: tuple[str, ...]
    options: Options


def asked_for(
    file: str | Path,
    strategy: str | None,
    stages: str | Sequence[str],
    set: Mapping[str, Any] | Sequence[str],  # noqa: A002 - the word of the command line
    plugins: Plugins | None,
    options: Options | None,
) -> Asked:
    """Return what is asked for, before any work; arguments as in `run`.

    Raises:
        UsageError: no such stage, or one that this agent has not.
        StrategyError: the file is invalid.
        ExtraMissing: the libraries of a learner are not installed.
    """
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load

    names, wanted, found = stages_of(stages), options or Options(), plugins or load_plugins()
    chosen = load(file, strategy, found, _overrides(set))
    _refuse_impossible(chosen, names, wanted)
    return Asked(strategy=chosen, plugins=found, stages=names, options=wanted)


def _run(
    strategy: Strategy,
    plugins: Plugins,
    base: Path,
    progress: Callable[[str], None],
    stages: tuple[str, ...],
    options: Options,
) -> Result:
    """Run a loaded strategy and keep the run; where it fails, what tells why and what resumes a training."""
    from mnqcore.runs import Draft
    from mnqcore.stages.looking import look

    draft = Draft(base=base, strategy=strategy.name, digest=strategy.digest())
    draft.begin(strategy.to_toml(), plugins.files)
    try:
        with watched():
            made = _observed(strategy, plugins, draft, progress, stages, options)
        kept = draft.keep(
            metrics=made.metrics,
            tables={"trades": made.trades, "equity": made.equity.to_frame()},
            manifest={**_manifest(made, stages), "looks": look(base, draft.name, made)},
        )
    except BaseException as error:
        set_aside(draft, error, {**described(strategy), "stage": ",".join(stages)})
        raise
    result = Result(metrics=made.metrics, trades=made.trades, equity=made.equity, features=made.features, run=kept)
    try:
        plugins.run_finished(kept, result)
    except PluginError as error:  # the run itself is whole
        raise PluginError(error.what, **error.facts, kept=str(kept.path)) from error
    return result


def _observed(
    strategy: Strategy,
    plugins: Plugins,
    draft: Draft,
    progress: Callable[[str], None],
    stages: tuple[str, ...],
    options: Options,
) -> Backtest:
    """Return what came of the stages, having told the observers of the beginning and of each trade."""
    from mnqcore.stages.learning import learn

    def noted(part: str) -> None:
        draft.log(part)
        _LOG.info("%s: %s", strategy.name, part)
        progress(part)

    draft.log("started", stage=",".join(stages))
    plugins.run_started(draft)
    made = learn(strategy, plugins, draft, noted, stages, options) if strategy.learns else backtest(strategy, noted)
    if "trade_closed" in plugins.observed:
        for trade in made.trades.to_dict("records"):
            plugins.trade_closed(draft, {str(key): value for key, value in trade.items()})
    draft.log("finished", seconds=made.seconds["total"])
    return made


def _manifest(made: Backtest, stages: tuple[str, ...]) -> dict[str, Any]:
    return {
        **described(made.strategy),
        "versions": versions_of(made),
        "stage": ",".join(stages),
        "data": made.facts,
        "hashes": made.hashes(),
        "model": made.model,
        "seconds": {name: round(seconds, 6) for name, seconds in made.seconds.items()},
    }


def versions_of(made: Backtest) -> dict[str, str]:
    """Return what the results depend on: name -> version; of a model those of its libraries too."""
    from mnqcore.runs import versions

    if made.model is None:
        return versions()
    from mnqcore.agent import model

    return {**versions(), **model.versions()}


def _refuse_impossible(strategy: Strategy, stages: tuple[str, ...], options: Options) -> None:
    """Refuse what an agent cannot do, before any work.

    Raises:
        UsageError: says what to leave out or to add.
        ExtraMissing: the libraries of a learner are not installed.
    """
    if stages == ("trade",):
        refuse_impossible(strategy, options)
        return
    refuse_idle(options)
    if strategy.learns:
        _refuse_idle(strategy, stages, options)
        require("rl")
        return
    asked = {"--stage train": "train" in stages, "--model": options.model, "--resume": options.resume}
    asked |= {"--seeds": options.seeds > 1, "--in-sample": options.in_sample, "--tensorboard": options.tensorboard}
    wrong = [name for name, given in asked.items() if given]
    if wrong:
        raise UsageError(
            f"agent '{strategy.agent.use}' is a rule: there is nothing to train",
            found=", ".join(wrong),
            next="leave it out, or name an agent that learns: mnq list agent",
        )


def _refuse_idle(strategy: Strategy, stages: tuple[str, ...], options: Options) -> None:
    """Refuse options of a learner that do not go with the stages."""
    trains, training = "train" in stages, {"--resume": options.resume, "--seeds": options.seeds > 1}
    training |= {"--tensorboard": options.tensorboard}
    if trains and options.model is not None:
        raise UsageError("--model backtests a model that is trained", next="leave out --stage train, or --model")
    if not trains and (idle := [name for name, given in training.items() if given]):
        raise UsageError(f"{', '.join(idle)}: nothing is trained", next="--stage train or train,backtest")
    if not trains and options.model is None:
        raise UsageError(
            f"agent '{strategy.agent.use}' must be trained before it can be tested",
            next="--stage train,backtest, or --model RUN for one that is",
        )
    if options.in_sample and "backtest" not in stages:
        raise UsageError("--in-sample: nothing is backtested", next="--stage train,backtest, or leave it out")


def _overrides(given: Mapping[str, Any] | Sequence[str]) -> list[str]:
    """Return settings as `--set` takes them; UsageError where TOML has no word for a value."""
    if not isinstance(given, Mapping):
        return list(given)
    from mnqcore.strategy.resolved import value

    try:
        return [f"{key}={value(setting)}" for key, setting in given.items()]
    except TypeError as error:  # None, or an object that TOML has no word for
        raise UsageError("set holds a value that TOML cannot hold", found=str(error)) from error
