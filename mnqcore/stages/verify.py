"""Repeats a run from what its directory holds, and compares level by level."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from mnqcore.errors import DataError, UsageError, require
from mnqcore.runs import to_json
from mnqcore.stages.backtest import backtest
from mnqcore.stages.run import versions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.plugins import Plugins
    from mnqcore.runs import Run
    from mnqcore.stages.backtest import Backtest
    from mnqcore.stages.ground import Ground
    from mnqcore.strategy.model import Strategy


@attrs.frozen(kw_only=True)
class Level:
    """One level of the comparison: what differs, if anything; `decides` is false where that alone is no failure."""

    name: str
    differs: tuple[str, ...]
    decides: bool = True

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differs


def verify(run: Run, plugin_args: Sequence[str] = (), *, retrain: bool = False) -> list[Level]:
    """Run a run again and return its levels: inputs, features, models, ledger, figures, and the versions used.

    What is kept is compared twice: its files with the hashes taken when they were written, and those with what comes
    out now. Another version of a library decides nothing by itself. Models trade as they were kept; with `retrain` they
    are trained again, and their weights compared.

    Args:
        run: what was kept.
        plugin_args: `-p` values beyond the copies in the run.
        retrain: train again what the run has trained.

    Raises:
        UsageError: it is a session's, or there is nothing to train again.
        StrategyError, DataError, PluginError: it cannot be repeated here.
    """
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load

    if run.traded:
        raise UsageError("a session cannot be run again: it is proven", where=run.name, next=f"mnq parity {run.name}")
    manifest, altered = run.manifest, run.altered()
    plugins = load_plugins([*map(str, run.plugin_files), *plugin_args])
    strategy = load(run.path / "resolved.toml", None, plugins)
    if strategy.learns:
        require("rl")
    if retrain:
        _refuse_untrained(run)
    again, weights = _again(run, strategy, plugins, retrain)
    kept, made = manifest["hashes"], again.hashes() | {"strategy": strategy.digest()}
    inputs = _differing({"data": kept["data"], "strategy": manifest["digest"]}, made)
    copies = [name for name in altered if name.startswith("plugins/")]
    models = [name for name in altered if name.startswith(("model/", "units/"))]
    return [
        Level(name="inputs", differs=(*inputs, *_touched(altered, "resolved.toml", *copies))),
        Level(name="features", differs=_differing({"features": kept["features"]}, made)),
        *([Level(name="models", differs=_touched(altered, *models))] if manifest.get("model") else []),
        *weights,
        Level(
            name="ledger",
            differs=(
                *_differing({name: kept[name] for name in ("trades", "equity")}, made),
                *_touched(altered, "trades.parquet", "equity.parquet"),
            ),
        ),
        Level(name="figures", differs=(*_figures(run, again), *_touched(altered, "metrics.json"))),
        Level(name="versions", differs=_versions(run, again), decides=False),
    ]


def _refuse_untrained(run: Run) -> None:
    model = run.manifest.get("model")
    if model is None or model["origin"] is not None:
        raise UsageError("this run has trained nothing", where=run.name, next="leave out --retrain")


def _again(run: Run, strategy: Strategy, plugins: Plugins, retrain: bool) -> tuple[Backtest, list[Level]]:
    """Return what comes out now, and the level of the weights where they are to be trained again."""
    from mnqcore.stages.ground import ground
    from mnqcore.stages.prepare import prepare

    try:
        if run.manifest.get("model") is None:
            return backtest(strategy), []
        on = ground(prepare(strategy))
        weights = [_weights(run, on, plugins)] if retrain else []
        return _model_again(run, on, plugins), weights
    except DataError as error:
        folder = run.manifest["folder"]
        if Path.cwd() == Path(folder):
            raise
        raise DataError(error.what, **error.facts | {"made in": f"{folder}: paths may be relative to it"}) from error


def _model_again(run: Run, on: Ground, plugins: Plugins) -> Backtest:
    from mnqcore.runs import open_run
    from mnqcore.stages.learning import assess_models, of_run

    began, origin = time.perf_counter(), run.manifest["model"]["origin"]
    owner = run if origin is None else open_run(origin, run.path.parent.parent)
    entrants = of_run(owner, plugins, all_seeds=origin is None)
    entrants = attrs.evolve(entrants, origin=origin)
    window = run.metrics["window"]["name"]
    return assess_models(on, entrants, window, None, lambda _part: None, began)


def _weights(run: Run, on: Ground, plugins: Plugins) -> Level:
    """Train again what a run has trained, and compare the weights of every seed and fold."""
    from mnqcore.stages.train import train, weights_of

    kept = weights_of(run.path)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(run.path / "resolved.toml", Path(folder) / "resolved.toml")
        arguments = [*map(str, run.plugin_files), *plugins.switched_off]
        seeds = len(run.metrics["learning"]["seeds"])
        train(on, Path(folder), plugins=arguments, seeds=seeds)
        made = weights_of(Path(folder))
    return Level(name="weights", differs=_differing(kept, made))


def _differing(kept: dict[str, str], made: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name} {old[:8]} now {made.get(name, 'missing')[:8]}" for name, old in kept.items() if made.get(name) != old
    )


def _touched(altered: Sequence[str], *names: str) -> tuple[str, ...]:
    return tuple(f"{name} is not as it was written" for name in names if name in altered)


def _figures(run: Run, again: Backtest) -> tuple[str, ...]:
    kept, made = run.metrics, json.loads(to_json(again.metrics))
    return tuple(name for name in sorted({*kept, *made}) if kept.get(name) != made.get(name))


def _versions(run: Run, again: Backtest) -> tuple[str, ...]:
    kept, now = dict(run.manifest["versions"]), versions_of(again)
    for key, choice in again.strategy.choices.items():
        kept[key], now[key] = run.manifest["plugins"][key]["version"], choice.version
    return tuple(f"{name} {kept.get(name)} now {now[name]}" for name in now if kept.get(name) != now[name])
