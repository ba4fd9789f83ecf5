"""`mnq plugins check NAME`: proves a piece, or says what is wrong with it, where, and what it most likely is."""

from __future__ import annotations

import contextlib
import sys
import textwrap
import time
from typing import TYPE_CHECKING, Any

import attrs
import click

from mnqcore.cli.table import WIDTH
from mnqcore.errors import MnqError, PluginError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnqcore.cli.context import Context
    from mnqcore.plugins import Plugins, Registered
    from mnqcore.testing.subject import Subject
    from mnqcore.testing.verdict import Report, Result

_INDENT = 8
_LEAST = 11
_LABELS = 20


@click.command("check")
@click.argument("name", required=False)
@click.argument("kind", required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A parameter that is not its default.")
@click.option("--column", "columns", multiple=True, metavar="NAME", help="A further column of bars that it reads.")
@click.option("--feed", "feeds", multiple=True, metavar="NAME", help="A feed that it reads beside the bars.")
@click.pass_context
def check(
    ctx: click.Context,
    name: str | None,
    kind: str | None,
    settings: tuple[str, ...],
    columns: tuple[str, ...],
    feeds: tuple[str, ...],
) -> None:
    """Prove a piece: that it knows no future, warms up as it says, keeps its contract on every market, and more.

    NAME is that of a piece, "distribution:name" where two have it; KIND tells pieces of one name apart. Without a
    name every piece that is installed is checked.

    Exit code 1 if a check failed.
    """
    context: Context = ctx.obj
    plugins = context.plugins()
    pieces = _pieces(plugins, name, kind)
    given = {"columns": columns, "feeds": feeds}
    reports = _reports(pieces, plugins, settings, given)
    if context.format == "json":
        found = list(reports)
        context.print_json("mnq.plugins.check/1", _document(found))
    elif name is not None:
        found = list(reports)
        click.echo("\n\n".join("\n".join(screen(each)) for each in found))
    else:
        found = _told_one_by_one(reports, plugins)
    if any(each.failed for each in found):
        ctx.exit(MnqError.exit_code)


def _pieces(plugins: Plugins, name: str | None, kind: str | None) -> list[Registered]:
    from mnqcore.api.contracts import KINDS

    if name is None:
        return sorted(plugins.registered, key=lambda piece: (KINDS.index(piece.kind), piece.distribution))
    if kind is not None:
        return [plugins.find(kind, name)]
    if found := [plugins.find(each, name) for each in KINDS if plugins.matching(each, name)]:
        return found
    for each in KINDS:
        if any(broken.provides(each, name) for broken in plugins.broken):
            plugins.find(each, name)  # says why it was not loaded
    raise _unknown(plugins, name)


def _unknown(plugins: Plugins, name: str) -> PluginError:
    from mnqcore.errors import suggest

    meant = suggest(name, sorted({piece.name for piece in plugins.registered}))
    hint = f"did you mean '{meant}'? " if meant else ""
    return PluginError(f"no piece named '{name}' is installed", next=f"{hint}mnq plugins lists what is")


def _reports(
    pieces: list[Registered], plugins: Plugins, settings: Sequence[str], given: dict[str, Any]
) -> Iterator[Report]:
    from mnqcore.plugins.watch import watched
    from mnqcore.testing.subject import of_piece
    from mnqcore.testing.verdict import report

    for piece in pieces:
        with contextlib.redirect_stdout(sys.stderr), watched():  # what a plugin prints is no result
            subject = of_piece(piece, plugins, **given)
            made = report(attrs.evolve(subject, params=_parameters(subject, settings)))
        yield made


def _parameters(subject: Subject, settings: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of `--set`, as the piece's types have them; UsageError for one that it does not take."""
    from mnqcore.api.parameters import parameters
    from mnqcore.strategy.overrides import given
    from mnqcore.strategy.reading import typed, unknown

    known, found = parameters(subject.cls), {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise UsageError(f"--set {text}: {subject.name} has no such parameter", next=unknown(key, list(known)))
        try:
            found[key] = typed(given(value), known[key].type)
        except Exception as error:
            raise UsageError(f"--set {text}: {key} {error}", next=known[key].help) from error
    return found


def _told_one_by_one(reports: Iterator[Report], plugins: Plugins) -> list[Report]:
    """Show a line a piece as it comes, and below it what is wrong."""
    found, began = [], time.perf_counter()
    wide = max((len(piece.name) for piece in plugins.registered), default=0)
    for each in reports:
        found.append(each)
        bad = f"{each.failed} FAILED" if each.failed else "ok"
        click.echo(f"{each.subject.kind:<10} {each.subject.name:<{wide}}  {each.made:>3} checks  {bad}")
        shown = [result for result in each.results if result.verdict in ("FAIL", "note")]
        if lines := [line for result in shown for line in _shown(result, _LABELS)]:
            click.echo("\n".join(lines))
    failed = sum(each.failed for each in found)
    made = sum(each.made for each in found)
    click.echo(f"\n{len(found)} pieces: {failed} of {made} checks failed, {time.perf_counter() - began:.0f} s")
    return found


def screen(found: Report) -> list[str]:
    """Return a report as lines of at most 80 columns, but for paths."""
    lines, passed = [found.subject.title], []
    shown = [result for result in found.results if result.verdict in ("FAIL", "note")]
    label = max([_LEAST, *(len(result.check) for result in shown)]) + 2
    skipped: dict[str, list[str]] = {}
    for result in found.results:
        if result.verdict == "pass":
            passed.append(result.check)
        elif result.verdict == "skip":
            skipped.setdefault(result.reason, []).append(result.check)
        else:
            lines += [*_passes(passed), *_shown(result, label)]
            passed = []
    lines += [*_passes(passed), *_skips(skipped)]
    tail = f"{found.failed} of {found.made} failed" if found.failed else f"all {found.made} checks passed"
    code = f"(exit {MnqError.exit_code})" if found.failed else ""
    return [*lines, f"{tail:<{WIDTH - len(code)}}{code}".rstrip()]


def _passes(names: list[str]) -> list[str]:
    if not names:
        return []
    count = f"{len(names)} check" + ("" if len(names) == 1 else "s")
    body = textwrap.wrap(", ".join(names), WIDTH - _INDENT - len(count) - 2, break_on_hyphens=False)
    first, *rest = (f"{line:<{WIDTH - _INDENT - len(count)}}" for line in body)
    lines = [f"  pass  {first}{count if not rest else ''}".rstrip()]
    lines += [f"{'':{_INDENT}}{line}".rstrip() for line in rest[:-1]]
    return [*lines, f"{'':{_INDENT}}{rest[-1]}{count}"] if rest else lines


def _skips(skipped: dict[str, list[str]]) -> list[str]:
    """Return the lines of what was not looked at, reason -> checks."""
    lines = []
    for reason, names in skipped.items():
        text = f"{', '.join(names)}: {reason}"
        body = textwrap.wrap(text, WIDTH - _INDENT, break_on_hyphens=False, break_long_words=False)
        lines += [f"  skip  {body[0]}", *(f"{'':{_INDENT}}{line}" for line in body[1:])]
    return lines


def _shown(result: Result, label: int) -> list[str]:
    """Return the lines of a result that is a failure or a note."""
    shown = []
    for number, fault in enumerate(result.faults):
        parts = [text for text in (fault.text, fault.where, fault.likely and f"likely: {fault.likely}") if text]
        head = result.check if number == 0 else ""
        shown += _lines(result.verdict if number == 0 else "", head, parts, label)
    return shown


def _lines(verdict: str, check_name: str, parts: Sequence[str], label: int) -> list[str]:
    room = WIDTH - _INDENT - label
    texts = [line for part in parts for line in textwrap.wrap(part, room, break_long_words=False) or [""]]
    heads = [f"  {verdict:<4}  {check_name:<{label}}", *[" " * (_INDENT + label)] * (len(texts) - 1)]
    return [f"{head}{text}".rstrip() for head, text in zip(heads, texts, strict=True)]


def _document(found: list[Report]) -> dict[str, Any]:
    return {
        "pieces": [_record(each) for each in found],
        "failed": sum(each.failed for each in found),
        "checks": sum(each.made for each in found),
    }


def _record(found: Report) -> dict[str, Any]:
    subject = found.subject
    known = {name: getattr(subject, name) for name in ("kind", "name", "distribution", "version")}
    return {**known, "failed": found.failed, "results": [attrs.asdict(result) for result in found.results]}
