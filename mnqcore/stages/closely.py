"""Looks at far more places than a run does whether a strategy knows the future: each of its pieces, and the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from mnqcore.api.values import MarketView
    from mnqcore.causality import Finding
    from mnqcore.strategy.model import Choice, Strategy
    from mnqcore.tape import Market

    Compute = Callable[[MarketView], pd.DataFrame | pd.Series]
    Progress = Callable[[str], None]

PLACES = 40
"""Places, spread over the whole history, at which each piece is given another future."""
_SHARES = (0.3, 0.6)
"""Places, as shares of the history, after which all of it is another; the last bar is one more."""
_TELLING = 6  # further bars about each place at which a piece says something new
_BEFORE, _BEHIND = 600, 160  # bars about a place, beside twice the warm-up


@attrs.frozen(kw_only=True)
class Peek:
    """Something that is not what it says: `check` as in `causality.Finding` or `stages.whole.of_whole`.

    `key` is where the strategy names the piece, `owner` its distribution and class, both "" for the whole.
    """

    check: str
    key: str
    owner: str
    column: str
    bar: int
    time: pd.Timestamp
    text: str


@attrs.frozen(kw_only=True)
class Looked:
    """What was looked at, and what was found: at most one of each piece, column and check.

    `skipped`: what could not be looked at, and why; "" where all was.
    """

    strategy: str
    bars: int
    places: int
    pieces: tuple[str, ...]
    found: tuple[Peek, ...]
    skipped: str = ""


def look_closely(strategy: Strategy, progress: Progress = lambda _part: None) -> Looked:
    """Return what is found of a strategy's pieces and of the whole that they make.

    Args:
        strategy: whose bars are read and whose plugins are asked.
        progress: told each piece as it is looked at.

    Raises:
        DataError: there are no usable bars.
        PluginError: a plugin raised, or broke its contract.
    """
    from mnqcore.stages.lookahead import pieces
    from mnqcore.stages.prepare import read_feeds, read_market
    from mnqcore.stages.whole import of_whole
    from mnqcore.tape.feeds import beside
    from mnqcore.tape.naming import in_full

    progress("bars")
    read = read_feeds(strategy)
    market = beside(strategy, read_market(strategy), read)
    views = {"": market.view, **{name: feed.view for name, feed in market.feeds.items()}}
    found, asked, skipped = [], [], ""
    for choice, compute in pieces(strategy):
        key = _key(strategy, choice)
        progress(key)
        asked.append(key)
        found += [
            _peek(market, finding, key, in_full(choice)) for finding in _of_piece(choice, compute, views[choice.on])
        ]
    progress("the whole")
    if not found:  # else the same would be told again, without a name
        findings, skipped = of_whole(strategy, market.raw, read)
        found += [_peek(market, finding) for finding in findings]
    return Looked(
        strategy=strategy.name,
        bars=len(market.tape),
        places=PLACES,
        pieces=tuple(asked),
        found=tuple(found),
        skipped=skipped,
    )


def _key(strategy: Strategy, choice: Choice) -> str:
    return next((key for key, other in strategy.choices.items() if other is choice), choice.kind)


def _peek(market: Market, finding: Finding, key: str = "", owner: str = "") -> Peek:
    text = finding.text
    if finding.ahead:  # the sentence numbers the bars of a stretch, here they are those of the whole history
        bars = "1 bar" if finding.ahead == 1 else f"{finding.ahead:,} bars"
        text = f"{finding.column} changes {bars} before the first of the bars that do"
    return Peek(
        check=finding.check,
        key=key,
        owner=owner,
        column=finding.column,
        bar=int(market.times.searchsorted(finding.time)),
        time=finding.time,
        text=text,
    )


def _of_piece(choice: Choice, compute: Compute, view: MarketView) -> list[Finding]:
    """Return what is found of one piece; what writes to bars or draws lots is told, and not called a peeker."""
    from mnqcore import causality
    from mnqcore.stages.lookahead import uneven

    warmup = max(int(getattr(choice.build(), "warmup", 0)), 0)
    windows = list(_windows(view, warmup))
    first = windows[0][0]
    try:
        if found := causality.mutations(compute, first) or causality.strays(compute, first):
            return found
        n = len(view.bars)
        if found := causality.look_ahead(compute, view, at=[int(n * share) for share in _SHARES] + [n - 2]):
            return found  # from so far ahead, perhaps, that no stretch would show it
        known: dict[tuple[str, str], Finding] = {}
        for window, at in windows:
            for finding in _of_window(compute, window, at):
                known.setdefault((finding.check, finding.column), finding)
        if choice.kind != "reward" and len(view.bars) >= 2 * warmup + 100:
            for finding in causality.warm_up(
                compute, _between(view, 0, min(len(view.bars), 3 * warmup + 2_000)), warmup
            ):
                if ("look-ahead", finding.column) not in known:
                    known[finding.check, finding.column] = finding
        return list(known.values())
    except DataError as error:  # another number of rows or columns where the bars are others
        raise uneven(choice, error) from error


def _of_window(compute: Compute, window: MarketView, at: int) -> list[Finding]:
    from mnqcore import causality

    whole = causality.computed(compute, window)
    near = whole.iloc[max(at - _BEHIND, 0) : at + _BEHIND]
    offset = max(at - _BEHIND, 0)
    cut = [offset + bar for bar in causality.telling(near, _TELLING)]
    return causality.look_ahead(compute, window, at=[at], cut=[bar for bar in cut if bar < len(window.bars) - 1])


def _windows(view: MarketView, warmup: int) -> Iterator[tuple[MarketView, int]]:
    """Yield stretches of the history, and the bar in each after which the future is another."""
    import numpy as np

    n, before = len(view.bars), 2 * warmup + _BEFORE
    for at in np.unique(np.linspace(min(warmup + 5, n - 2), n - 2, PLACES).astype(int)).tolist():
        start = max(at - before, 0)
        yield _between(view, start, min(at + _BEHIND, n)), at - start


def _between(view: MarketView, start: int, end: int) -> MarketView:
    bars = view.bars.iloc[start:end]
    first, last = bars.index[0], bars.index[-1]
    feeds = {name: feed[(feed.index >= first) & (feed.index <= last)] for name, feed in view.feeds.items()}
    return attrs.evolve(view, bars=bars, factor=view.factor.iloc[start:end], feeds=feeds)


def as_record(peek: Peek) -> dict[str, Any]:
    """Return a finding as plain JSON."""
    return {**attrs.asdict(peek), "time": peek.time.isoformat()}
