"""`mnq plugins`: every piece, who it is from, and whether it works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs
import click

from mnqcore.api.contracts import KINDS
from mnqcore.cli.conformance import check
from mnqcore.cli.pip import install
from mnqcore.cli.table import columns
from mnqcore.errors import PluginError

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.plugins import Plugins, Registered


@attrs.frozen(kw_only=True)
class Row:
    """One line of the list; `ms` is the time of an import, None where none was needed; `error` only with `--load`."""

    kind: str
    name: str
    distribution: str
    version: str
    status: str
    ms: float | None = None
    error: PluginError | None = None


@click.group(invoke_without_command=True)
@click.option("--load", "load", is_flag=True, help="Import each piece; report the time and what fails.")
@click.pass_context
def plugins(ctx: click.Context, load: bool) -> None:
    """List plugins: kind, name, distribution, status and the milliseconds of an import."""
    if ctx.invoked_subcommand is None:
        _show(ctx.obj, load)
    else:
        ctx.meta["load"] = load


@plugins.command("list")
@click.option("--load", "load", is_flag=True, help="Import each piece; report the time and what fails.")
@click.pass_context
def list_plugins(ctx: click.Context, load: bool) -> None:
    """List plugins, as `mnq plugins` does."""
    _show(ctx.obj, load or ctx.meta["load"])


plugins.add_command(check)


def _show(context: Context, load: bool) -> None:
    found = context.plugins(warn=False)
    rows = _rows(found, load)
    if context.format == "json":
        context.print_json("mnq.plugins/1", _document(found, rows))
    else:
        click.echo("\n".join(_screen(found, rows)))


def _rows(found: Plugins, load: bool) -> list[Row]:
    rows = [_loaded(piece) if load else _listed(piece) for piece in found.registered]
    rows += [
        Row(kind="-", name=broken.entry, distribution=broken.distribution, version=broken.version, status=broken.status)
        for broken in found.broken
    ]
    rows += [
        Row(
            kind=off.kind or "-", name=off.name or "-", distribution=off.distribution, version=off.version, status="off"
        )
        for off in found.disabled
    ]
    order = [*KINDS, "-"]
    return sorted(rows, key=lambda row: (order.index(row.kind), row.distribution != "mnq", row.distribution))


def _listed(piece: Registered) -> Row:
    return _row(piece, "ok", piece.ms)


def _loaded(piece: Registered) -> Row:
    started = time.perf_counter()
    try:
        piece.load()
    except PluginError as error:
        return _row(piece, "broken", None, error)
    return _row(piece, "ok", piece.ms or (time.perf_counter() - started) * 1e3)


def _row(piece: Registered, status: str, ms: float | None, error: PluginError | None = None) -> Row:
    return Row(
        kind=piece.kind,
        name=piece.name,
        distribution=piece.distribution,
        version=piece.version,
        status=status,
        ms=ms,
        error=error,
    )


def _screen(found: Plugins, rows: list[Row]) -> list[str]:
    lines = columns(
        ("KIND", "NAME", "DISTRIBUTION", "STATUS", "MS"), [_cells(group) for group in _groups(rows)], wrap=(1,)
    )
    for broken in found.broken:
        lines += _advice(broken.entry, broken.where, broken.reason, broken.hint)
    for row in rows:
        if row.error:
            facts = row.error.facts
            lines += _advice(row.name, facts.get("where", ""), facts.get("why") or row.error.what, facts["next"])
    bad = sum(row.status not in ("ok", "off") for row in rows)
    pieces = sum(row.kind != "-" for row in rows)
    distributions = len({row.distribution for row in rows})
    lines += [
        "",
        f"{_counted(pieces, 'piece')} from {_counted(distributions, 'distribution')}; {bad} not usable. "
        "ms = import, only if imported.",
    ]
    return lines


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _advice(name: str, where: str, why: str, hint: str) -> list[str]:
    place = f"{where}: " if where else ""
    return ["", f"{name}: {place}{why}", f"  the rest of mnq works without it. {hint}"]


def _groups(rows: list[Row]) -> list[list[Row]]:
    """Rows that differ only in their name, together."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alone = row.name if row.ms is not None else ""
        groups.setdefault((row.kind, row.distribution, row.version, row.status, alone), []).append(row)
    return list(groups.values())


def _cells(group: list[Row]) -> tuple[str, ...]:
    first = group[0]
    names = ", ".join(row.name for row in group)
    ms = "-" if first.ms is None else f"{first.ms:.0f}"
    return first.kind, names, f"{first.distribution} {first.version}", first.status, ms


def _document(found: Plugins, rows: list[Row]) -> dict[str, Any]:
    return {
        "plugins": [
            {**attrs.asdict(row), "error": str(row.error) if row.error else None} for row in rows if row.kind != "-"
        ],
        "broken": [attrs.asdict(broken) for broken in found.broken],
        "disabled": [attrs.asdict(off) for off in found.disabled],
    }


plugins.add_command(install)
