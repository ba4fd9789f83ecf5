"""`mnq journal`: show, verify and export the journal of a session."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.table import columns
from mnqcore.errors import UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnqcore.cli.context import Context
    from mnqcore.trading.journal import Event, Header, Journal
    from mnqcore.trading.journal_audit import Check

_HEADER = ("SEQ", "TIME (UTC)", "KIND", "WHAT")


@click.group()
def journal() -> None:
    """Show, verify and export the journal of a session.

    RUN is a name from `mnq runs list` or a part of it, the folder of a session, or the file of a journal.
    """


@journal.command()
@click.argument("name", metavar="RUN")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only events of this kind; may be repeated.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only those behind this number.")
@click.pass_obj
def show(context: Context, name: str, kinds: tuple[str, ...], last: int | None, after: int) -> None:
    """Show what was meant, sent and heard; a session may be writing it meanwhile."""
    from mnqcore.trading.journal import Journal

    with Journal.read(find(name, context.runs_dir)) as found:
        _refuse_unknown(kinds, found)
        events: Iterable[Event] = found.events(kinds, after)
        if last:
            events = deque(events, maxlen=last)
        if context.format == "json":
            _print_json(context, found, events)
        else:
            click.echo("\n".join([_about(found.header), *_table(list(events), found.header)]))


@journal.command()
@click.argument("name", metavar="RUN")
@click.pass_obj
def verify(context: Context, name: str) -> int:
    """Check that a journal is whole, and that every order was meant before it was sent.

    Exit code 1 if anything is not as it should be.
    """
    from mnqcore.trading.journal_audit import audit

    path = find(name, context.runs_dir)
    checks = audit(path)
    if context.format == "json":
        listed = [{"name": check.name, "passed": check.passed, "found": list(check.found)} for check in checks]
        context.print_json("mnq.journal-verify/1", {"journal": str(path), "checks": listed})
    else:
        click.echo("\n".join(columns(("CHECK", "", "FOUND"), [*_verdicts(checks)], wrap=(2,))))
    return 0 if all(check.passed for check in checks) else 1


@journal.command()
@click.argument("name", metavar="RUN")
@click.option(
    "--to", "path", required=True, type=click.Path(path_type=Path), help="A new .jsonl, .csv or .parquet file."
)
@click.pass_obj
def export(context: Context, name: str, path: Path) -> None:
    """Write all events to a file that other programs read."""
    from mnqcore.trading.journal import Journal
    from mnqcore.trading.journal_export import export as write

    with Journal.read(find(name, context.runs_dir)) as found:
        count = write(found, path)
    if context.format == "json":
        context.print_json("mnq.journal-export/1", {"file": str(path), "events": count})
    else:
        click.echo(f"{count:,} {'event' if count == 1 else 'events'} in {path}")


def find(name: str, runs_dir: Path) -> Path:
    """Return the journal of a run or a session.

    Raises:
        UsageError: there is no such run, or it has none.
    """
    from mnqcore.runs import open_run
    from mnqcore.trading.journal import FILE

    for place in (Path(name), runs_dir / name):
        if place.is_file():
            return place
        if (place / FILE).is_file():
            return place / FILE
    run = open_run(name, runs_dir)
    if not (run.path / FILE).is_file():
        raise UsageError(f"{run.name} has no journal", where=str(run.path), next="runs of --stage trade have one")
    return run.path / FILE


def _refuse_unknown(kinds: Sequence[str], found: Journal) -> None:
    from mnqcore.trading.journal import KINDS

    for kind in kinds:
        if kind not in KINDS and not found.count(kind):
            meant = suggest(kind, KINDS)
            raise UsageError(
                f"no event is of the kind {kind!r}",
                next=f"did you mean {meant}?" if meant else f"kinds: {', '.join(KINDS)}",
            )


def _print_json(context: Context, found: Journal, events: Iterable[Event]) -> None:
    import attrs

    from mnqcore.trading.journal_export import document, iso

    header = {**attrs.asdict(found.header), "created": iso(found.header.created)}
    shown: dict[str, Any] = {"journal": str(found.path), "header": header, "events": [document(one) for one in events]}
    context.print_json("mnq.journal-events/1", shown)


def _about(header: Header) -> str:
    from mnqcore.cli.journal_text import visible

    text = f"{header.strategy}, {header.mode}, account {header.account}, session {header.session}"
    return visible(text)


def _table(events: Sequence[Event], header: Header) -> list[str]:
    """Return the events below each other, with a line where a day begins."""
    from mnqcore.cli.journal_text import Wording, visible
    from mnqcore.trading.journal_export import iso

    words, rows, day = Wording(header.instrument), [], ""
    for event in events:
        date, _, time = iso(event.time).partition("T")
        if date != day:
            rows.append(["", date, "", ""])
            day = date
        rows.append([f"{event.seq:,}", time[:12], visible(event.kind), words.line(event)])
    return columns(_HEADER, rows, wrap=(3,), right=(0,)) if rows else ["no events"]


def _verdicts(checks: Sequence[Check]) -> Iterable[list[str]]:
    from mnqcore.cli.journal_text import visible

    for check in checks:
        verdict = {True: "pass", False: "FAIL", None: "not checked"}[check.passed]
        for number, text in enumerate(check.found or ("",)):
            yield [check.name, verdict, visible(text)] if number == 0 else ["", "", visible(text)]
