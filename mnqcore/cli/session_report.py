"""What is printed when a session ends or is stopped: what it came to, what protects what is left, how to go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.journal_text import visible
from mnqcore.cli.screen import SYNTHETIC, trade_lines
from mnqcore.cli.table import dollars, filled, fixed, percent

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.runs import Run
    from mnqcore.stages.trade import Traded

    Document = dict[str, Any]

SCHEMA, KEPT = "mnq.session/1", "mnq.session-run/1"


def show(context: Context, found: Traded, code: int) -> None:
    """Print what a session came to: a screen, or one line of JSON behind those of the status."""
    if context.format == "json":
        click.echo(json.dumps(document(found, code), allow_nan=False))
    else:
        click.echo("\n".join(visible(line) for line in lines(found)))


def document(found: Traded, code: int) -> Document:
    """Return it for programs."""
    return {
        "schema": SCHEMA,
        "why": found.why,
        "ended": found.run is not None,
        "exit_code": code,
        "state": found.state,
        **{name: found.status[name] for name in ("mode", "account", "strategy", "session", "synthetic")},
        **found.report,
        "positions": found.status["positions"],
        "protection": found.status["protection"],
        "run": None if found.run is None else str(found.run.path),
        "folder": None if found.run is not None else str(found.folder),
    }


def lines(found: Traded) -> list[str]:
    """Return it on 80 columns."""
    report, status = found.report, found.status
    guard = status["protection"]
    return [
        *filled(
            status["strategy"],
            [f"{status['mode'].upper()} {status['account']}", *_span(status), f"{report['bars']:,} bars"],
        ),
        *([SYNTHETIC] if status["synthetic"] else []),
        *filled("ended" if found.run else "stopped", [found.why, f"state {found.state}"]),
        *_counted(report),
        *filled("left", _left(found, guard)),
        *_on(found),
    ]


def show_kept(context: Context, run: Run) -> None:
    """Print a session that has ended, from its run."""
    from mnqcore.stages.reports import whole
    from mnqcore.trading.journal import FILE, Journal

    metrics, manifest = run.metrics, run.manifest
    with Journal.read(run.path / FILE) as journal:
        report, account = whole(journal), journal.header.account
    if context.format == "json":
        facts = {"run": str(run.path), "synthetic": manifest["data"]["synthetic"], "account": account}
        context.print_json(KEPT, {**facts, "report": report, "metrics": metrics, "manifest": manifest})
        return
    found, span = metrics["session"], f"{metrics['first_day']} .. {metrics['last_day']}"
    cells = [f"{found['mode'].upper()} {account}", span, f"{found['bars']:,} bars"]
    path = _near(run.path)
    shown = [
        *filled(metrics["strategy"], cells),
        *([SYNTHETIC] if manifest["data"]["synthetic"] else []),
        *filled("ended", [found["ended"], f"state {found['state']}"]),
        *_counted(report),
        "",
        *filled("equity", _equity(metrics)),
        *trade_lines(metrics, manifest),
        *filled("run", [path]),
        f"next     mnq parity {path}",
    ]
    click.echo("\n".join(visible(line) for line in shown))


def _equity(metrics: Document) -> list[str]:
    depth = f"deepest drawdown {dollars(-metrics['max_drawdown'])}"
    return [
        f"net {dollars(metrics['net_profit'])}", f"return {percent(metrics['total_return'])}", depth,
        f"Sharpe {fixed(metrics['sharpe'])}", f"{metrics['days']} trading days",
    ]  # fmt: skip


def _counted(report: Document) -> list[str]:
    """Return what is counted of a session."""
    return [
        *filled(
            "trades",
            [
                f"{report['trades']:,}",
                f"net {dollars(report['net'])}",
                f"fees {dollars(report['fees'])}",
                f"slippage {dollars(report['slippage'])}",
                f"worst of a day {dollars(report['largest_loss'])}",
            ],
        ),
        *filled("denied", [f"market rules: {_counts(report['denied'])}", f"world rules: {_counts(report['refused'])}"]),
        *filled(
            "broker",
            [
                f"orders {report['orders']:,}",
                f"rejected: {_counts(report['rejections'])}",
                f"errors: {_counts(report['errors'])}",
                f"unknown: {report['unknowns'] or 'none'}",
            ],
        ),
        *filled(
            "odd",
            [
                f"bars: {_counts(report['odd_bars'])}",
                f"restarts: {report['restarts'] or 'none'}",
                f"alerts: {_counts(report['alerts'])}",
                f"commands: {report['commands'] or 'none'}",
            ],
        ),
    ]


def _left(found: Traded, guard: Document) -> list[str]:
    if found.run is not None and found.held:
        return [f"{_held(found)} at the last close, where the books end"]
    return [_held(found), f"{guard['level']}: {guard['text']}"] if found.held else ["FLAT"]


def _held(found: Traded) -> str:
    return ", ".join(f"{number:+d} {contract}".strip() for contract, number in found.held.items())


def _on(found: Traded) -> list[str]:
    if found.run is None:
        return [
            *filled("kept", [_near(found.folder)]),
            "next     the same command goes on; mnq trade status; mnq trade flatten",
        ]
    path = _near(found.run.path)
    return [*filled("run", [path]), f"next     mnq parity {path}"]


def _span(status: Document) -> list[str]:
    return [] if status["bar"] is None else [f"until {status['bar']['end'][:16].replace('T', ' ')} UTC"]


def _counts(counts: Document) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items()) or "none"


def _near(path: Path) -> str:
    """Return a path, from here where it lies below."""
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()
