"""Runs side by side: their figures, and the settings in which they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.screen import SYNTHETIC
from mnqcore.cli.table import columns, filled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.cli.context import Context
    from mnqcore.runs import Run

_COMPARED = (
    "net_profit", "total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "time_in_market",
)  # fmt: skip


def compare_runs(context: Context, runs: Sequence[Run]) -> None:
    """Print figures of runs side by side, and the settings in which they differ."""
    metrics, differing = [run.metrics for run in runs], _differing(runs)
    if context.format == "json":
        sides = [{"run": run.name, "metrics": found} for run, found in zip(runs, metrics, strict=True)]
        context.print_json("mnq.compare/1", {"runs": sides, "settings": differing})
        return
    invented = [bool(run.manifest["data"]["synthetic"]) for run in runs]
    if any(invented):
        click.echo(SYNTHETIC if all(invented) else "SYNTHETIC bars beside real ones: these figures do not compare")
    for number, run in enumerate(runs, start=1):
        click.echo(f"[{number}] {run.name}")
    names = [f"[{number}]" for number in range(1, len(runs) + 1)]
    rows = [[name, *(_number(found[name]) for found in metrics)] for name in _COMPARED]
    rows.append(["trades", *(str(found["trades"]["count"]) for found in metrics)])
    click.echo("\n".join(columns(("", *names), rows, right=range(1, len(names) + 1))))
    if not differing:
        click.echo("no setting differs")
    for key, values in differing.items():
        cells = [f"{name} {value}" for name, value in zip(names, values, strict=True)]
        click.echo("\n".join(filled(f"{key}:", cells)))


def _differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return dotted key -> each run's value, of the settings, the data and the versions that are not the same."""
    texts = [_settings(run) for run in runs]
    found = {key: [text.get(key, "-") for text in texts] for key in sorted({key for text in texts for key in text})}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _settings(run: Run) -> dict[str, str]:
    import tomli

    manifest = run.manifest
    found = {"data sha": manifest["data"].get("data_sha256", "-")[:8]}  # a session keeps its bars in the journal
    found |= {f"{name} version": text for name, text in manifest["versions"].items()}
    document = tomli.loads(run.resolved)
    for table in (*document["strategy"].values(), {"instrument": document.get("instrument", {})}):
        found |= _flat(table, "")
    return found


def _flat(table: dict[str, Any], above: str) -> dict[str, str]:
    """Return dotted key -> value of nested tables."""
    found: dict[str, str] = {}
    for key, value in table.items():
        found |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": str(value)}
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")
