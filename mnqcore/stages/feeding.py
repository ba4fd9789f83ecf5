"""What is said of a run's feeds, and the one sum of all bars that it read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market
    from mnqcore.tape.feeds import Feed


def sha256_of_all(strategy: Strategy, market: Market) -> str:
    """Return the sha256 of a strategy's bars and of those of its feeds that have data of their own."""
    from mnqcore.stages.fingerprint import sha256_of

    own = sha256_of(market.raw)
    read = [f"{name} {sha256_of(market.feeds[name].raw)}" for name, feed in strategy.feeds.items() if feed.data]
    return hashlib.sha256("\n".join([own, *sorted(read)]).encode()).hexdigest() if read else own


def feeds(strategy: Strategy, market: Market) -> dict[str, dict[str, Any]]:
    """Return name -> what is known of each feed, as plain JSON."""
    return {name: _facts(strategy, market, name, feed) for name, feed in market.feeds.items()}


def _facts(strategy: Strategy, market: Market, name: str, feed: Feed) -> dict[str, Any]:
    """Return a feed's facts: `missing` counts the strategy's bars at which it lacks the bar that should have closed.

    `before` of them come before the feed's first bar has closed.
    """
    from mnqcore.stages.fingerprint import sha256_of
    from mnqcore.tape.feeds import unfed

    wanted, times = strategy.feeds[name], feed.view.bars.index
    lacking, began = unfed(market.view, name), market.view.feed_closes(name)[0]
    before = market.calendar.bar_ends(market.times, market.bar_size) < began
    return {
        "instrument": wanted.instrument.name,
        "bar_size": wanted.bar_size,
        "source": wanted.data.use if wanted.data else None,
        "bars": len(times),
        "first": times[0].isoformat(),
        "last": times[-1].isoformat(),
        "missing": int(lacking.sum()),
        "before": int((lacking & before).sum()),
        "outside": feed.outside,
        "rolls": len(feed.rolls),
        "sha256": sha256_of(feed.raw),
    }
