"""What every stage begins with: a strategy's bars, and what its plugins say of them, seen not to know the future."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market, Tape
    from mnqcore.tape.feeds import Feed

    Progress = Callable[[str], None]
    """Told the name of each part of the work as it begins."""


@attrs.frozen(kw_only=True, eq=False)
class Prepared:
    """A strategy on its bars, ready to be traded or trained.

    `law`: its costs and limits as the simulator reads them. `facts`: what was read: bars, data hash, rolls, ...
    """

    strategy: Strategy
    tape: Tape
    law: NDArray[np.void]
    facts: dict[str, Any]

    @property
    def market(self) -> Market:
        """The bars on the clock."""
        return self.tape.market


def prepare(
    strategy: Strategy, progress: Progress = lambda _part: None, *, cache: Path | None = None, look: bool = True
) -> Prepared:
    """Read the bars, ask every plugin once, and see on a sample that none knows the future.

    Args:
        strategy: what to prepare.
        progress: told "bars", "plugins" and "look-ahead".
        cache: where it is kept that this strategy on these bars was seen to know no future; None looks every time.
        look: False where it was seen already in another process.

    Raises:
        DataError: there are no usable bars.
        PluginError: a plugin raised, broke its contract, or looks into the future.
    """
    from mnqcore.simulator import rulebook
    from mnqcore.stages.lookahead import look_ahead_bars
    from mnqcore.tape import build

    progress("bars")
    market, read = read_market(strategy), read_feeds(strategy)
    progress("plugins")
    tape = build(strategy, market, read)
    facts = _facts(strategy, tape.market)
    progress("look-ahead")
    seen = look_ahead_bars(strategy, tape.market, facts["data_sha256"], cache) if look else 0
    law = rulebook(strategy.instrument, strategy.costs, strategy.risk)
    return Prepared(strategy=strategy, tape=tape, law=law, facts=facts | {"look_ahead_bars": seen})


def read_market(strategy: Strategy) -> Market:
    """Return a strategy's bars on the clock; errors as in `prepare`."""
    from mnqcore.api.values import BarRequest
    from mnqcore.market.bars import bar_size
    from mnqcore.tape import calls, lay

    size = bar_size(strategy.bar_size)
    session = "rth" if strategy.session.rth else "full"
    bars = calls.bars(strategy.data, BarRequest(instrument=strategy.instrument, bar_size=size, session=session))
    return lay(bars, strategy.instrument, strategy.session, size)


def read_feeds(strategy: Strategy) -> dict[str, Feed]:
    """Return the feeds that have data of their own; the others are made of the strategy's bars."""
    from mnqcore.api.values import BarRequest
    from mnqcore.market.bars import bar_size
    from mnqcore.tape import calls
    from mnqcore.tape.feeds import lay_feed

    rth, found = strategy.session.rth, {}
    for name, feed in strategy.feeds.items():
        if feed.data is not None:
            size = bar_size(feed.bar_size)
            wanted = BarRequest(instrument=feed.instrument, bar_size=size, session="rth" if rth else "full")
            found[name] = lay_feed(calls.bars(feed.data, wanted), feed.instrument, size, rth=rth)
    return found


def _facts(strategy: Strategy, market: Market) -> dict[str, Any]:
    from mnqcore.stages.feeding import feeds, sha256_of_all

    sources = [strategy.data, *(feed.data for feed in strategy.feeds.values() if feed.data)]
    return {
        **span(market),
        "outside_session": market.outside,
        "data_sha256": sha256_of_all(strategy, market),
        "synthetic": any(bool(getattr(source.cls, "synthetic", False)) for source in sources),
        **({"feeds": feeds(strategy, market)} if strategy.feeds else {}),
    }


def span(market: Market) -> dict[str, Any]:
    """Return what a market holds, as plain JSON: bars, first and last time, trading days, rolls."""
    raw, days = market.raw, market.tape["day"]
    keys = ("old", "new", "ratio", "overlap")
    rolls = [{"time": roll.time.isoformat(), **{key: getattr(roll, key) for key in keys}} for roll in market.rolls]
    return {
        "bars": len(raw),
        "first": raw.index[0].isoformat(),
        "last": raw.index[-1].isoformat(),
        "trading_days": int(days[-1] - days[0]) + 1,
        "rolls": rolls,
    }
