"""What a dry run says: what would be run, and how long it would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from mnqcore.cli.table import filled

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.stages.dry import Estimate


def show_estimate(context: Context, found: Estimate) -> None:
    """Print an estimate as a few lines or as JSON."""
    if context.format == "json":
        context.print_json("mnq.estimate/1", {**attrs.asdict(found), "hours": found.hours})
        return
    warmup = f"{found.warmup:,} before the first decision"
    lines = filled(found.strategy, [found.agent, f"{found.bars:,} bars", *([warmup] if found.windows else [])])
    if found.windows:
        lines += filled("split", [f"{name} {bars:,} bars" for name, bars in found.windows.items()])
    if found.trainings:
        lines += _training(found)
    click.echo("\n".join([*lines, "nothing was run or kept"]))


def _training(found: Estimate) -> list[str]:
    many = f"{found.trainings} trainings" if found.trainings > 1 else "1 training"
    if found.timesteps is None:
        return filled("train", [many, "the agent does not say how long it trains"])
    each = f"of {found.timesteps:,} bars each"
    if found.pace is None or found.hours is None:
        return filled("train", [f"{many} {each}", "its pace is not known"])
    jobs = f", {found.jobs} at a time" if found.trainings > 1 and found.jobs > 1 else ""
    pace = f"{found.pace:,.0f} bars a second, measured for two seconds"
    return filled("train", [f"{many} {each}{jobs}", pace, f"expected {_time(found.hours)} in all"])


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
