"""`mnq show FILE -s NAME`: a strategy with every layer merged and every default filled in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mnqcore.cli.context import Context


@click.command("show")
@click.argument("file", type=click.Path())
@click.option("-s", "--strategy", "name", metavar="NAME", help="Which strategy; a file with one needs none.")
@click.option("--origin", is_flag=True, help="Say beside each value where it comes from.")
@click.pass_obj
def show(context: Context, file: str, name: str | None, origin: bool) -> None:
    """Show a strategy of FILE as a complete strategy file, every default filled in."""
    from mnqcore import strategy
    from mnqcore.strategy import resolved

    found = strategy.load(file, name, context.plugins())
    if context.format == "json":
        extra = {"origins": found.origins} if origin else {}
        values = resolved.values(found)
        context.print_json("mnq.strategy/1", {"name": found.name, "digest": found.digest(), "values": values, **extra})
    else:
        click.echo(resolved.write(found, origins=origin), nl=False)
