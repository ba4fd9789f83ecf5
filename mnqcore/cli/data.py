"""`mnq data check|import|list`: look at bars, and bring them into the store."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from mnqcore.cli.table import columns as in_columns
from mnqcore.errors import DataError, UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.cli.context import Context
    from mnqcore.market.instruments import Instrument
    from mnqcore.market.store import Imported, Manifest, Read

_COLUMNS = ("time", "date", "open", "high", "low", "close", "volume", "contract")


@click.group("data")
def data() -> None:
    """Check and import bars."""


def _reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how a file is laid out; what is not said is found out."""
    for name in reversed(_COLUMNS):
        command = click.option(f"--{name}", metavar="COLUMN", help=f"The file's column of {name}s.")(command)
    for option in (
        click.option("--bar-size", metavar="SIZE", help='Size of the bars, such as "5 min".  [default: read off]'),
        click.option(
            "--stamp",
            type=click.Choice(["start", "end", "auto"]),
            default="auto",
            show_default=True,
            help="Whether times are bar starts or ends; auto decides from the calendar and says why.",
        ),
        click.option(
            "--dates", type=click.Choice(["day-first", "month-first"]), help="Order of dates like 03/04/2025."
        ),
        click.option("--decimal", default=".", show_default=True, help="Decimal point."),
        click.option("--sep", help="What separates values.  [default: found out]"),
        click.option("--zone", default="UTC", show_default=True, help="Zone of times that name none."),
        click.option("--column", "extra", multiple=True, metavar="COLUMN", help="Keep a further column (repeatable)."),
    ):
        command = option(command)
    return command


@data.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--instrument", metavar="NAME", help="Whose calendar and tick to hold bars against.")
@_reading_options
@click.pass_obj
def check_file(context: Context, /, file: Path, instrument: str | None, **options: Any) -> None:
    """Count what is wrong with the bars in FILE: CSV, CSV.gz or parquet. Exit 5 if they cannot be used."""
    from mnqcore.market import store

    read = store.read_file(file, _instrument(file, instrument), **_reading(options))
    if context.format == "json":
        context.print_json("mnq.data.check/1", {"file": str(file), **_read_record(read)})
    else:
        click.echo("\n".join(_read_lines(file, read)))
    store.sound(read)


@data.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="DIR/NAME.parquet to write.")
@click.option("--instrument", metavar="NAME", required=True, help="What the bars are of: MNQ, ES, 6E, ...")
@_reading_options
@click.option("--drop-bad", is_flag=True, help="Leave out rows that cannot be used, order the rest, and count both.")
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@click.pass_obj
def import_file(
    context: Context, /, file: Path, target: Path, instrument: str, drop_bad: bool, force: bool, **options: Any
) -> None:
    """Bring FILE into the store: bars by their start in UTC, as parquet, with a manifest beside it."""
    from mnqcore.market import store

    found = _named(instrument)
    done = store.import_file(file, target, found, drop_bad=drop_bad, force=force, **_reading(options))
    if context.format == "json":
        record = {"file": str(target), "manifest": attrs.asdict(done.manifest), **_read_record(done.read)}
        context.print_json("mnq.data.import/1", record)
    else:
        click.echo("\n".join([*_read_lines(file, done.read), *_imported_lines(done)]))


@data.command("list")
@click.argument("directory", type=click.Path(path_type=Path), default=Path("data"))
@click.pass_obj
def list_files(context: Context, /, directory: Path) -> None:
    """List the imported files under DIRECTORY (data, if not given)."""
    from mnqcore.market import store

    if not directory.is_dir():
        raise DataError("no such directory", where=str(directory), next="mnq data import FILE --to DIR/NAME.parquet")
    listed = store.stored(directory)
    if context.format == "json":
        context.print_json("mnq.data.list/1", {"files": [_file_record(path, known) for path, known in listed]})
    elif listed:
        rows = [_file_row(path.relative_to(directory), known) for path, known in listed]
        click.echo("\n".join(in_columns(("FILE", "INSTRUMENT", "SIZE", "ROWS", "FROM", "TO"), rows)))
    else:
        click.echo(f"no imported files under {directory}", err=True)


def _reading(options: dict[str, Any]) -> dict[str, Any]:
    """Turn the options of reading into the arguments of the store's functions."""
    from mnqcore.market.bars import bar_size
    from mnqcore.market.files import Layout

    layout = Layout(
        columns={name: options[name] for name in _COLUMNS if options[name]},
        extra=options["extra"],
        zone=options["zone"],
        sep=options["sep"].replace("\\t", "\t") if options["sep"] else None,
        decimal=options["decimal"],
        dates=options["dates"],
    )
    size = bar_size(options["bar_size"]) if options["bar_size"] else None
    return {"layout": layout, "stamp": options["stamp"], "size": size}


def _instrument(file: Path, name: str | None) -> Instrument:
    from mnqcore.market import store

    if name is None and (manifest := store.read_manifest(file)):
        name = manifest.instrument
    if name is None:
        raise UsageError("the file does not say of what it is", where=str(file), next="--instrument MNQ, ES, 6E, ...")
    return _named(name)


def _named(name: str) -> Instrument:
    from mnqcore.market.instruments import catalogue

    known = catalogue()
    if name not in known:
        meant = suggest(name, list(known))
        hint = f"did you mean {meant!r}?" if meant else f"one of {', '.join(known)}"
        raise UsageError(f"no instrument {name!r}", next=hint)
    return known[name]


def _read_lines(file: Path, read: Read) -> list[str]:
    notes = [line for note in read.evidence for line in textwrap.wrap(note, 78, subsequent_indent="  ")]
    unread = [f"FATAL {read.unreadable:>9,}  unreadable   rows without a readable time"] if read.unreadable else []
    return [str(file), *notes, *read.findings.lines(), *unread]


def _read_record(read: Read) -> dict[str, Any]:
    return {
        "stamp": read.stamp,
        "evidence": list(read.evidence),
        "unreadable": read.unreadable,
        **read.findings.as_dict(),
    }


def _imported_lines(done: Imported) -> list[str]:
    manifest = done.manifest
    dropped = ", ".join(f"{count:,} {kind}" for kind, count in manifest.dropped.items())
    return [
        *([f"set right: {dropped}"] if dropped else []),
        f"wrote {done.path}  {manifest.rows:,} bars  sha {manifest.sha256[:8]}",
    ]


def _file_record(path: Path, known: Manifest | DataError) -> dict[str, Any]:
    facts = {"error": str(known)} if isinstance(known, DataError) else attrs.asdict(known)
    return {"file": str(path), **facts}


def _file_row(path: Path, known: Manifest | DataError) -> tuple[str, ...]:
    if isinstance(known, DataError):
        return (str(path), "-", "-", "-", "-", known.what)
    return (str(path), known.instrument, known.bar_size, f"{known.rows:,}", known.start[:10], known.end[:10])
