"""Repeats a run from what its directory holds, and compares level by level."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from mnqcore.errors import DataError
from mnqcore.runs import to_json, versions
from mnqcore.stages.backtest import backtest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.runs import Run
    from mnqcore.stages.backtest import Backtest
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


def verify(run: Run, plugin_args: Sequence[str] = ()) -> list[Level]:
    """Run a run again and return its levels: inputs, features, ledger, figures, and the versions used.

    What is kept is compared twice: its files with the hashes taken when they were written, and those with what comes
    out now. Another version of a library decides nothing by itself.

    Args:
        run: what was kept.
        plugin_args: `-p` values beyond the copies in the run.

    Raises:
        StrategyError, DataError, PluginError: it cannot be repeated here.
    """
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load

    manifest, altered = run.manifest, run.altered()
    plugins = load_plugins([*map(str, run.plugin_files), *plugin_args])
    strategy = load(run.path / "resolved.toml", None, plugins)
    again = _again(strategy, manifest["folder"])
    kept, made = manifest["hashes"], again.hashes() | {"strategy": strategy.digest()}
    inputs = _differing({"data": kept["data"], "strategy": manifest["digest"]}, made)
    copies = [name for name in altered if name.startswith("plugins/")]
    return [
        Level(name="inputs", differs=(*inputs, *_touched(altered, "resolved.toml", *copies))),
        Level(name="features", differs=_differing({"features": kept["features"]}, made)),
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


def _again(strategy: Strategy, folder: str) -> Backtest:
    try:
        return backtest(strategy)
    except DataError as error:
        if Path.cwd() == Path(folder):
            raise
        raise DataError(error.what, **error.facts | {"made in": f"{folder}: paths may be relative to it"}) from error


def _differing(kept: dict[str, str], made: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} {old[:8]} now {made[name][:8]}" for name, old in kept.items() if made[name] != old)


def _touched(altered: Sequence[str], *names: str) -> tuple[str, ...]:
    return tuple(f"{name} is not as it was written" for name in names if name in altered)


def _figures(run: Run, again: Backtest) -> tuple[str, ...]:
    kept, made = run.metrics, json.loads(to_json(again.metrics))
    return tuple(name for name in sorted({*kept, *made}) if kept.get(name) != made.get(name))


def _versions(run: Run, again: Backtest) -> tuple[str, ...]:
    kept, now = dict(run.manifest["versions"]), versions()
    for key, choice in again.strategy.choices.items():
        kept[key], now[key] = run.manifest["plugins"][key]["version"], choice.version
    return tuple(f"{name} {kept.get(name)} now {now[name]}" for name in now if kept.get(name) != now[name])
