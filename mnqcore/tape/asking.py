"""Asks a plugin: watched while it is at it, named when it raises, and with bars of its own that it may not write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.errors import MnqError, PluginError
from mnqcore.tape.naming import at_bar, broken, call_of, raised

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from mnqcore.api.values import MarketView
    from mnqcore.strategy.model import Choice


def asked(choice: Choice, method: str, call: Callable[..., Any], *args: Any) -> Any:
    """Call a plugin; what it raises is named after it, unless it is an error meant for the user already."""
    watched = call_of(choice, method)
    watched.begin()
    try:
        return call(*args)
    except MnqError:
        raise
    except (Exception, SystemExit) as error:
        raise raised(choice, method, error) from error
    finally:
        watched.end()


def asked_of(choice: Choice, method: str, call: Callable[[MarketView], Any], view: MarketView) -> Any:
    """Ask a plugin about a market; it is given bars of its own, and named when it has written to them."""
    feeds = {name: feed.copy() for name, feed in view.feeds.items()}
    given = attrs.evolve(view, bars=view.bars.copy(), factor=view.factor.copy(), feeds=feeds)
    found = asked(choice, method, call, given)
    for name, old, new in (("factor", view.factor.to_frame(), given.factor.to_frame()), *_tables(view, given)):
        if not old.equals(new):
            error = broken(choice, f"it writes to the {name} it is given", "copy what is changed: view.bars.copy()")
            raise _placed_at_difference(error, old, new)
    return found


def _tables(view: MarketView, given: MarketView) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    return [("bars", view.bars, given.bars), *((name, feed, given.feeds[name]) for name, feed in view.feeds.items())]


def _placed_at_difference(error: PluginError, old: pd.DataFrame, new: pd.DataFrame) -> PluginError:
    """Return the error, told the first bar at which a column differs, where both have the same rows."""
    if not old.index.equals(new.index):
        return error
    for name in old.columns:
        if name not in new or not old[name].equals(new[name]):
            wrong = old[name] != new[name] if name in new else np.ones(len(old))
            at = int(np.argmax(np.asarray(wrong)))
            return error.placed(f"{name}, {at_bar(at, old.index[at])}")
    return error
