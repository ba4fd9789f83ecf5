"""Repeats a run from what its directory holds, and compares level by level."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs

from mnqcore.runs import to_json, versions
from mnqcore.stages.backtest import backtest
from mnqcore.stages.run import hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.runs import Run
    from mnqcore.stages.backtest import Backtest


@attrs.frozen(kw_only=True)
class Level:
    """One level of the comparison: what differs, if anything."""

    name: str
    differs: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differs


def verify(run: Run, plugin_args: Sequence[str] = ()) -> list[Level]:
    """Run a run again and return its levels: inputs, features, ledger, figures, and the versions used.

    Args:
        run: what was kept.
        plugin_args: `-p` values beyond the copies in the run.

    Raises:
        StrategyError, DataError, PluginError: it cannot be repeated here.
    """
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load

    plugins = load_plugins([*map(str, run.plugin_files), *plugin_args])
    strategy = load(run.path / "resolved.toml", None, plugins)
    again = backtest(strategy)
    kept, made = run.manifest["hashes"], hashes(again)
    inputs = _differing(
        {"data": kept["data"], "strategy": run.manifest["digest"]}, made | {"strategy": strategy.digest()}
    )
    return [
        Level(name="inputs", differs=inputs),
        Level(name="features", differs=_differing({"features": kept["features"]}, made)),
        Level(name="ledger", differs=_differing({name: kept[name] for name in ("trades", "equity")}, made)),
        Level(name="figures", differs=_figures(run, again)),
        Level(name="versions", differs=_versions(run, again)),
    ]


def _differing(kept: dict[str, str], made: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{name} {old[:8]} now {made[name][:8]}" for name, old in kept.items() if made[name] != old)


def _figures(run: Run, again: Backtest) -> tuple[str, ...]:
    kept, made = run.metrics, json.loads(to_json(again.metrics))
    return tuple(name for name in sorted({*kept, *made}) if kept.get(name) != made.get(name))


def _versions(run: Run, again: Backtest) -> tuple[str, ...]:
    kept, now = dict(run.manifest["versions"]), versions()
    for key, choice in again.strategy.choices.items():
        kept[key], now[key] = run.manifest["plugins"][key]["version"], choice.version
    return tuple(f"{name} {kept.get(name)} now {now[name]}" for name in now if kept.get(name) != now[name])
