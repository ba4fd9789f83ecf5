"""What a person is asked before a session, or what it holds, is touched."""

from __future__ import annotations

import sys
from typing import Any

import click

from mnqcore.errors import UsageError


def beyond_too(found: dict[str, Any], everything: bool) -> tuple[bool, bool]:
    """Return whether to close what is not the session's, too, and whether that was refused: nobody was there to ask."""
    from mnqcore.trading.settling import others

    held = ", ".join(f"{others(row):+d} {row['contract']}" for row in found["positions"] if others(row))
    if everything or not held:
        return everything, False
    known = "not the session's" if found["journal"] else "perhaps the session's: its journal cannot be read"
    if sys.stdin.isatty():
        return click.confirm(f"{held} is {known}. Close everything?", err=True), False
    click.echo(f"not touched: {held} is {known}. --all closes it too  (exit 2)", err=True)
    return False, True


def asked(question: str, yes: bool) -> bool:
    """Return what a person says; UsageError where there is nobody to ask."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask", found=question, next="--yes")
    return click.confirm(question, err=True)


def question_of(command: str, found: dict[str, Any]) -> str:
    """Return what a person is asked before a difference is settled."""
    rows = [row for row in found["positions"] if row["beyond"]]
    changes = ", ".join(f"{row['beyond']:+d} {row['contract']}" for row in rows)
    if command == "adopt":
        return f"leave {changes} alone from now on, neither closed nor protected?"
    return f"book {changes} as gone by other hands, and cancel the orders that were for it?"
