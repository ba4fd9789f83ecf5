"""Names the plugin that is at fault: what it did, who it is of, where in its code, and at which bar."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pandas as pd

from mnqcore.errors import PluginError
from mnqcore.plugins.blame import depth, place, reason
from mnqcore.plugins.watch import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.strategy.model import Choice

ANOTHERS = "raised in a unit of work"
"""Note on an error that an executor only passes on."""


def title(choice: Choice) -> str:
    """Return kind and name, as users see them."""
    return f"{choice.kind} '{choice.use}'"


def owner(choice: Choice) -> str:
    """Return distribution and version, as users see them."""
    return f"{choice.distribution} {choice.version}"


def in_full(choice: Choice) -> str:
    """Return distribution, version and class of a plugin."""
    return f"{owner(choice)}, {choice.cls.__module__}.{choice.cls.__qualname__}"


def raised(choice: Choice, method: str, error: BaseException) -> PluginError:
    """Return the error that a method of a plugin raised, with file and line in the plugin's code."""
    where = place(error, choice.cls.__module__)
    return PluginError(
        f"{title(choice)} raised {reason(error)}",
        who=f"{owner(choice)}{f', {where}' if where else ''} in {method}",
        next="--traceback shows all",
    )


def broken(choice: Choice, wrong: str, hint: str) -> PluginError:
    """Return the error that a plugin does not keep its contract."""
    return PluginError(
        f"{title(choice)} broke its contract: {wrong}",
        who=in_full(choice),
        next=hint,
    )


def call_of(choice: Choice, method: str) -> Call:
    """Return the way in which a plugin is asked, to be watched."""
    return Call(title(choice), owner(choice), choice.cls.__module__, method)


def at_bar(bar: int, time: Any, lane: int = 0, lanes: int = 1) -> str:
    """Return a bar, its start and, where there are several accounts, the account: in words.

    Args:
        bar: its number.
        time: UTC; nanoseconds, or what pandas makes a Timestamp of.
        lane: number of the account, from 0.
        lanes: how many accounts there are.
    """
    whose = f"account {lane + 1} of {lanes}, " if lanes > 1 else ""
    start = pd.Timestamp(time)
    return f"{whose}bar {int(bar):,} = {start:%Y-%m-%d %H:%M}{f':{start.second:02}' if start.second else ''} UTC"


@contextlib.contextmanager
def answering(method: str, *choices: Choice | None) -> Iterator[None]:
    """Name the plugin in whose code an error arose, of those that are at work together; else let it pass.

    An error that knows a plugin by its class alone is told its distribution.

    Args:
        method: what the plugins were asked for.
        choices: who may have raised it, None where there is none.
    """
    at_work = [choice for choice in choices if choice is not None]
    try:
        yield
    except PluginError as error:
        _introduce(error, at_work)
        raise
    except (Exception, SystemExit) as error:
        notes = getattr(error, "__notes__", [])
        depths = [depth(error, choice.cls.__module__) for choice in at_work]
        if ANOTHERS in notes or max(depths, default=-1) < 0:
            raise
        deepest = at_work[depths.index(max(depths))]
        found, where = raised(deepest, method, error), [note for note in notes if " = " in note]
        raise (found.placed(where[0]) if where else found) from error


def _introduce(error: PluginError, choices: list[Choice]) -> None:
    who = error.facts.get("who", "")
    for choice in choices:
        if who.startswith(f"{choice.cls.__module__}."):
            error.facts["who"] = f"{owner(choice)}, {who}"
