"""`mnq parity`: whether what a session did is what the backtester does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mnqcore.cli.context import Context
    from mnqcore.trading.parity import Difference, Parity, Row

_HEADER = ("ROW", "COMPARED", "DIFFER", "")


@click.command()
@click.argument("name", metavar="RUN")
@click.option("--model", metavar="RUN", help="The run that holds its model, where that has another name now.")
@click.pass_obj
def parity(context: Context, name: str, model: str | None) -> int:
    """Compare what a session did with what the backtester does.

    RUN is a name from `mnq runs list` or a part of it, or the folder of a session, also of one that goes on. Exit code
    1 if anything differs.
    """
    from mnqcore.cli.journal import find
    from mnqcore.stages.parity import parity as prove

    path = find(name, context.runs_dir)
    found = prove(path, context.runs_dir, context.plugins_args, model)
    if context.format == "json":
        context.print_json("mnq.parity/1", {"journal": str(path), **_document(found)})
    else:
        click.echo("\n".join(_screen(found)))
    return 0 if found.holds else 1


def _screen(found: Parity) -> Iterable[str]:
    from mnqcore.cli.table import columns

    rows = [(row.name, f"{row.compared:,}", f"{row.differ:,}", _about(row)) for row in found.rows]
    yield from columns(_HEADER, rows, wrap=(3,), right=(1, 2))
    for row in found.rows:
        if row.first is not None:
            yield from _first(row, row.first)
    if found.slippage is not None:
        slip = found.slippage
        yield f"slippage  {slip.mean:.2f} ticks a fill, at worst {slip.worst}, of {slip.count:,} fills"
        yield f"          the strategy assumes {slip.assumed}; beyond the limit: {slip.over:,}"
    for number, (name, count) in enumerate(found.given.items()):
        yield f"{'' if number else 'given':<9} {name}: {count:,}"
    yield f"bars      of {found.source}"
    yield f"          {_verdict(found)}"


def _about(row: Row) -> str:
    return row.about + (f"; {row.left:,} cannot be compared" if row.left else "")


def _first(row: Row, first: Difference) -> Iterable[str]:
    from mnqcore.cli.journal_text import visible
    from mnqcore.trading.parity.texts import moment_text

    where = f"bar {first.bar:,}, " if first.bar >= 0 else ""
    yield f"{row.name}: the first that differs: {where}{moment_text(first.time)} UTC"
    lines = [("what", first.what), ("recorded", first.recorded), ("computed", first.computed)]
    lines += [("cause", first.cause)] if first.cause else []
    yield from (f"  {label:<9} {visible(text)}" for label, text in lines)


def _verdict(found: Parity) -> str:
    if not found.holds:
        return "it DIFFERS from what the backtester does"
    fills = "" if found.exact else "; its fills are measured, not compared"
    return f"it did what the backtester does{fills}"


def _document(found: Parity) -> dict[str, Any]:
    import attrs

    return {
        "holds": found.holds,
        "rows": {row.name: _row(row) for row in found.rows},
        "source": found.source,
        "exact": found.exact,
        "slippage": None if found.slippage is None else attrs.asdict(found.slippage),
        "given": dict(found.given),
    }


def _row(row: Row) -> dict[str, Any]:
    first = row.first
    return {
        "compared": row.compared,
        "differ": row.differ,
        "cannot_be_compared": row.left,
        "first": None if first is None else _difference(first),
    }


def _difference(one: Difference) -> dict[str, Any]:
    from mnqcore.trading.journal_export import iso

    return {
        "bar": one.bar if one.bar >= 0 else None,
        "time": iso(one.time),
        "what": one.what,
        "recorded": one.recorded,
        "computed": one.computed,
        "cause": one.cause or None,
    }
