"""What `mnq trade` prints: answers, journal and broker side by side, and how a session stands."""

from __future__ import annotations

import json
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from mnqcore.cli.journal_text import visible
from mnqcore.cli.session_screen import lines
from mnqcore.cli.table import WIDTH, columns

if TYPE_CHECKING:
    from mnqcore.cli.context import Context
    from mnqcore.trading.places import Place

_STALE = 10.0
"""Seconds after which a status file says that its session hangs."""
_HEADER = ("CONTRACT", "JOURNAL", "BROKER", "LEFT ALONE", "BEYOND")


def printed(context: Context, ok: bool, text: str, found: dict[str, Any] | None = None) -> int:
    """Print what came of a command, and return the exit code."""
    if context.format == "json":
        context.print_json("mnq.trade/1", {"ok": ok, "text": text, **(found or {})})
    else:
        click.echo("\n".join(textwrap.wrap(visible(text), WIDTH, break_long_words=False)))
        if not ok and found and found.get("positions"):
            click.echo("\n".join(comparison(found)))
    return 0 if ok else 1


def comparison(found: dict[str, Any]) -> list[str]:
    """Return what journal and broker hold, side by side."""
    if not found["positions"]:
        held = f"nothing is held, by {'journal and broker' if found['journal'] else 'the broker'}"
        return [f"{held}; orders at the broker: {len(found['orders'])}" if found["orders"] else held]
    rows = [
        [row["contract"] or "-", *(_signed(row[key]) for key in ("journal", "broker", "left_alone", "beyond"))]
        for row in found["positions"]
    ]
    return columns(_HEADER, [list(map(visible, row)) for row in rows], right=(1, 2, 3, 4))


def shown(context: Context, place: Place, holder: int) -> int:
    """Print how a running session says that it stands."""
    document = place.status()
    if document is None:
        return printed(context, False, f"process {holder} has the session, but has not said yet how it stands")
    age = (datetime.now(UTC) - datetime.fromisoformat(document["written"])).total_seconds()
    hangs = age > _STALE
    if context.format == "json":
        click.echo(json.dumps({**document, "from": "session", "age": round(age, 3), "hangs": hangs}, allow_nan=False))
        return 1 if hangs else 0
    click.echo("\n".join(lines(document)))
    if hangs:
        click.echo(f"HANGS      process {holder} has said nothing for {age:.0f} s: this is as it stood then")
        click.echo("           mnq trade status --take-over, or flatten --take-over, ends it and asks the broker")
    return 1 if hangs else 0


def _signed(number: int | None) -> str:
    return "?" if number is None else f"{number:+d}" if number else "0"
