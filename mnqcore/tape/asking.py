"""Asks a plugin: watched while it is at it, named when it raises, and with bars of its own that it may not write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError, MnqError
from mnqcore.tape.mutation import copied, rewritten
from mnqcore.tape.naming import at_bar, broken, call_of, raised

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnqcore.api.values import MarketView
    from mnqcore.strategy.model import Choice


def asked(choice: Choice, method: str, call: Callable[..., Any], *args: Any) -> Any:
    """Call a plugin; what it raises is named after it, unless it is an error meant for the user already."""
    watched = call_of(choice, method)
    watched.begin()
    try:
        return call(*args)
    except MnqError as error:
        if isinstance(error, DataError) and choice.kind not in ("data", "agent"):  # who reads neither bars nor models
            raise raised(choice, method, error) from error
        raise
    except (Exception, SystemExit) as error:
        raise raised(choice, method, error) from error
    finally:
        watched.end()


def asked_of(choice: Choice, method: str, call: Callable[[MarketView], Any], view: MarketView) -> Any:
    """Ask a plugin about a market; it is given bars of its own, and named when it has written to them."""
    given = copied(view)
    found = asked(choice, method, call, given)
    for wrong in rewritten(view, given):
        error = broken(choice, f"it writes to the {wrong.table} it is given", "copy what is changed: view.bars.copy()")
        raise error if wrong.bar is None else error.placed(f"{wrong.column}, {at_bar(wrong.bar, wrong.time)}")
    return found
