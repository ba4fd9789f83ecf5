"""`mnq schema`: the JSON schema with which editors complete and check strategy files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnqcore.errors import UsageError

if TYPE_CHECKING:
    from mnqcore.cli.context import Context

_FILE = "mnq.schema.json"


@click.command("schema")
@click.option(
    "--write", metavar="[PATH]", is_flag=False, flag_value=_FILE, help=f"Write it to a file.  [default: {_FILE}]"
)
@click.pass_obj
def schema(context: Context, write: str | None) -> None:
    """Print the JSON schema of strategy files with the plugins installed here, or write it beside your files.

    An editor (Even Better TOML, tombi) finds it by the first line of a strategy file: #:schema ./mnq.schema.json
    """
    from mnqcore.strategy.schema import document

    found, broken = document(context.plugins())
    for text in broken:
        click.echo(f"warning: {text}", err=True)
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    if write is None:
        click.echo(text, nl=False)
        return
    try:
        Path(write).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {write}", found=str(error)) from error
    click.echo(f"{write}: write #:schema ./{Path(write).name} as the first line of the files beside it")
