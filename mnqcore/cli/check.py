"""`mnq check FILE`: every strategy of a file, or all that is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import click

from mnqcore.cli.table import columns

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.strategy import InvalidFile, Strategy


@click.command("check")
@click.argument("file", type=click.Path())
@click.option("-s", "--strategy", "name", metavar="NAME", help="Only this strategy.")
@click.pass_context
def check(ctx: click.Context, file: str, name: str | None) -> None:
    """Check a strategy FILE: all errors at once, each with its place. Nothing is run, no data is read.

    Exit code 3 if there is an error.
    """
    from mnqcore import strategy

    context: Context = ctx.obj
    try:
        found = strategy.check(file, context.plugins(), name)
    except strategy.InvalidFile as error:
        if context.format != "json":
            raise
        context.print_json("mnq.check/1", {"file": file, "strategies": [], "findings": _findings(error)})
        ctx.exit(error.exit_code)
    if context.format == "json":
        context.print_json("mnq.check/1", {"file": file, "strategies": list(map(_record, found)), "findings": []})
    else:
        click.echo("\n".join(_screen(file, found)))


def _screen(file: str, found: list[Strategy]) -> list[str]:
    noun = "strategy" if len(found) == 1 else "strategies"
    rows = [(each.name, f"{each.instrument.name} {each.bar_size}", *_pieces(each)) for each in found]
    header = ("STRATEGY", "BARS", "DATA", "AGENT", "BRACKET", "SIZER", "FEATURES")
    table = columns(header, rows, wrap=(3, 5, 6), indent=2)
    feeds = [line for each in found for line in _feeds(each)]
    return [f"{file}: {len(found)} {noun} ok", *table, *feeds, "not checked: the bars themselves, and look-ahead"]


def _feeds(one: Strategy) -> list[str]:
    """Return a line for each feed of a strategy: whose bars, and where from."""
    return [
        f"  feed {name} of {one.name}: {feed.instrument.name} {feed.bar_size}, "
        + (f"data {feed.data.use}" if feed.data else f"made of the bars of {one.bar_size}")
        for name, feed in one.feeds.items()
    ]


def _pieces(one: Strategy) -> tuple[str, ...]:
    return one.data.use, one.agent.use, one.bracket.use, one.sizer.use, ", ".join(one.features) or "none"


def _record(one: Strategy) -> dict[str, Any]:
    uses = {key: choice.use for key, choice in one.choices.items()}
    settings = {"instrument": one.instrument.name, "bar_size": one.bar_size, "seed": one.seed}
    feeds = {name: {"instrument": feed.instrument.name, "bar_size": feed.bar_size} for name, feed in one.feeds.items()}
    extra = {"feeds": feeds} if feeds else {}
    return {"name": one.name, "summary": one.summary, "digest": one.digest(), **settings, "use": uses, **extra}


def _findings(error: InvalidFile) -> list[dict[str, Any]]:
    def place(finding: Any) -> dict[str, Any]:
        return attrs.asdict(finding.span) if finding.span else {"line": None, "column": None, "width": None}

    return [
        {"message": one.message, "where": one.label, **place(one), "key": one.dotted or None, "hint": one.hint}
        for one in error.findings
    ]
