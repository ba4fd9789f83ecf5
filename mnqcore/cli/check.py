"""`mnq check FILE`: every strategy of a file, or all that is wrong with it; with --lookahead what knows the future."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import attrs
import click

from mnqcore.cli.table import columns, filled

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.stages.closely import Looked, Peek
    from mnqcore.strategy import InvalidFile, Strategy


@click.command("check")
@click.argument("file", type=click.Path())
@click.option("-s", "--strategy", "name", metavar="NAME", help="Only this strategy.")
@click.option("--lookahead", is_flag=True, help="Read the bars, and look for pieces that know the future.")
@click.pass_context
def check(ctx: click.Context, file: str, name: str | None, lookahead: bool) -> None:
    """Check a strategy FILE: all errors at once, each with its place. Nothing is run, no data is read.

    With --lookahead the bars are read, and every piece, the account, the scaler and the environment are seen to stay
    as they are when later bars change, at many more places than in a run.

    Exit code 3 if there is an error, 1 if something knows the future, or is not warm when it says so.
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
    looked = [_looked(each, quiet=context.verbose < 0) for each in found] if lookahead else []
    if context.format == "json":
        more = {"lookahead": list(map(_looked_record, looked))} if lookahead else {}
        records = list(map(_record, found))
        context.print_json("mnq.check/1", {"file": file, "strategies": records, "findings": [], **more})
    else:
        click.echo("\n".join(_screen(file, found, looked)))
    if any(each.found for each in looked):
        ctx.exit(1)


def _looked(one: Strategy, *, quiet: bool) -> Looked:
    from mnqcore.plugins.watch import watched
    from mnqcore.stages.closely import look_closely

    with contextlib.redirect_stdout(sys.stderr), watched():  # what a plugin prints is no result
        return look_closely(one, lambda part: None if quiet else click.echo(f"{one.name}: {part}", err=True))


def _screen(file: str, found: list[Strategy], looked: list[Looked]) -> list[str]:
    noun = "strategy" if len(found) == 1 else "strategies"
    rows = [(each.name, f"{each.instrument.name} {each.bar_size}", *_pieces(each)) for each in found]
    header = ("STRATEGY", "BARS", "DATA", "AGENT", "BRACKET", "SIZER", "FEATURES")
    table = columns(header, rows, wrap=(3, 5, 6), indent=2)
    feeds = [line for each in found for line in _feeds(each)]
    lines = [f"{file}: {len(found)} {noun} ok", *table, *feeds]
    if not looked:
        return [*lines, "not checked: the bars themselves, and look-ahead (--lookahead)"]
    return [*lines, *(line for each in looked for line in _looked_screen(each))]


def _looked_screen(one: Looked) -> list[str]:
    head = (
        f"look-ahead   {one.strategy}: {one.bars:,} bars, {one.places} places, {', '.join((*one.pieces, 'the whole'))}"
    )
    if not one.found:
        skipped = filled("", [f"not looked at: {one.skipped}"]) if one.skipped else []
        return [f"{head}: none", *skipped]
    return [head, *(line for peek in one.found for line in _peek_lines(peek))]


def _peek_lines(peek: Peek) -> list[str]:
    """Return a finding as lines: what, where, who."""
    lines = [f"  FAIL  {peek.check:<10} {peek.key or 'the whole'}: {peek.text}"]
    lines += [f"        {'where':<10} bar {peek.bar:,} = {peek.time:%Y-%m-%d %H:%M} UTC, column {peek.column}"]
    return lines + ([f"        {'who':<10} {peek.owner}"] if peek.owner else [])


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


def _looked_record(one: Looked) -> dict[str, Any]:
    from mnqcore.stages.closely import as_record

    known = {name: getattr(one, name) for name in ("strategy", "bars", "places", "pieces", "skipped")}
    return {**known, "found": list(map(as_record, one.found))}


def _findings(error: InvalidFile) -> list[dict[str, Any]]:
    def place(finding: Any) -> dict[str, Any]:
        return attrs.asdict(finding.span) if finding.span else {"line": None, "column": None, "width": None}

    return [
        {"message": one.message, "where": one.label, **place(one), "key": one.dotted or None, "hint": one.hint}
        for one in error.findings
    ]
