"""`mnq init`: a folder for strategies, their bars and their runs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnqcore.cli.scaffold import TEMPLATES, filled, strategy_text, write_into

if TYPE_CHECKING:
    from mnqcore.cli.context import Context


@click.command("init")
@click.argument("folder", metavar="[DIR]", default=".")
@click.option("--template", type=click.Choice(TEMPLATES), default="rule", help="The strategy: a rule, or a model.")
@click.pass_obj
def init(context: Context, folder: str, template: str) -> None:
    """Make a project folder: a strategy file, the schema for editors, a folder for bars, README, .gitignore.

    DIR may exist; none of the files may.
    """
    from mnqcore.strategy.schema import document

    place, file = Path(folder), "strategies.toml"
    title = re.sub(r"[^a-z0-9]+", "-", place.resolve().name.lower()).strip("-") or "mine"
    stage = " --stage train,backtest" if template == "learn" else ""
    schema, broken = document(context.plugins())
    for text in broken:
        click.echo(f"warning: {text}", err=True)
    files = {
        file: strategy_text(template, "mine", file),
        "mnq.schema.json": json.dumps(schema, indent=2, allow_nan=False) + "\n",
        "README.md": filled("project.md", name=title, file=file, run=f"{file}{stage}"),
        ".gitignore": filled("gitignore"),
        "data/": "",
    }
    write_into(place, files)
    names = [(place / name).as_posix() + ("/" if name.endswith("/") else "") for name in files]
    run = (
        f"mnq run {file}{stage}" if place == Path() else f"cd {shlex.quote(place.as_posix())} && mnq run {file}{stage}"
    )
    if context.format == "json":
        context.print_json("mnq.init/1", {"files": names, "next": run})
    else:
        click.echo("\n".join([*(f"wrote  {name}" for name in names), f"next   {run}"]))
