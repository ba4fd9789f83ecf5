"""Sees on a sample, in every run, that nothing a strategy computes from bars knows the future."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.values import MarketView
    from mnqcore.causality import Finding
    from mnqcore.strategy.model import Choice, Strategy
    from mnqcore.tape import Market

    Compute = Callable[[MarketView], pd.DataFrame | pd.Series]

SAMPLE = 5_000
"""The most bars that are looked at: the last ones."""
_FEWEST = 60
_CUT = 0.6
"""Where the future is redrawn and cut off, as a share of the sample; its last bar but one is a second place."""
_TELLING = 24
"""At so many bars where a piece says something new the future is cut off as well."""
_TELLING_FEATURES = 8  # each costs as much as the features themselves


_FAULTS = {
    "look-ahead": (
        "looks into the future",
        "a value at a bar may depend on that bar and those before it, never on later ones",
    ),
    "determinism": ("gives other values each time it is asked", "draw from a generator seeded by a parameter"),
    "mutation": ("writes to the bars it is given", "copy what is changed: view.bars.copy()"),
}
"""Kind of finding -> what the plugin does, and what to do about it."""


def look_ahead_bars(strategy: Strategy, market: Market, data: str, cache: Path | None) -> int:
    """Return what `refuse_look_ahead` returns, asking it only once for the same strategy, code and bars.

    Args:
        strategy: whose plugins are asked.
        market: the bars, and those of its feeds.
        data: the sha256 of all of them.
        cache: folder in which it is kept that nothing was found; None looks every time.

    Raises:
        PluginError: as `refuse_look_ahead`; that is never kept.
    """
    if cache is None:
        return refuse_look_ahead(strategy, market)
    known = cache / _asked(strategy, data)
    with contextlib.suppress(OSError, ValueError):
        return int(known.read_text(encoding="ascii"))
    seen = refuse_look_ahead(strategy, market)
    with contextlib.suppress(OSError):  # a folder that cannot be written only costs the time to look again
        cache.mkdir(parents=True, exist_ok=True)
        known.write_text(str(seen), encoding="ascii")
    return seen


def _asked(strategy: Strategy, data: str) -> str:
    """Return the sha256 of all that the answer depends on: what is asked, of which code, on which bars."""
    digest = hashlib.sha256(f"{data}\0{strategy.digest()}".encode())
    for choice in strategy.choices.values():
        digest.update(f"\0{choice.distribution} {choice.version}\0".encode())
        for path in _sources(choice.cls):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _sources(cls: type) -> list[Path]:
    """Return the files that a plugin's code may lie in: all of its top-level package, or its one file."""
    file = Path(inspect.getfile(sys.modules[cls.__module__.partition(".")[0]]))
    return sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]


def refuse_look_ahead(strategy: Strategy, market: Market) -> int:
    """Return how many bars were looked at, 0 where there are too few to prove anything.

    Everything is computed again on the sample with another future, and with none; what a plugin says of a bar that
    had closed by then must stay the same. Nor may a plugin write to the bars it is given. What is computed on a feed is
    seen on the feed's own bars; the others are given the feeds beside theirs, without what had not closed yet.

    Raises:
        PluginError: a plugin knows the future or writes to the bars; names it, the column and the bar.
    """
    samples = {"": _last(market.view, SAMPLE)}
    samples |= {name: _last(feed.view, SAMPLE) for name, feed in market.feeds.items()}
    bars = len(samples[""].bars)
    if bars < _FEWEST:
        return 0
    for choice, compute in pieces(strategy):
        sample = samples[choice.on]
        if len(sample.bars) < _FEWEST:  # a short feed
            continue
        findings = _findings(choice, compute, sample)
        if findings:
            raise _refused(choice, findings)
    return bars


def _findings(choice: Choice, compute: Compute, sample: MarketView) -> list[Finding]:
    from mnqcore import causality

    bars = len(sample.bars)
    try:
        # In this order: what writes to its bars, or draws lots, would pass for look-ahead.
        if found := causality.mutations(compute, sample) or causality.strays(compute, sample):
            return found
        whole = causality.computed(compute, sample)
        cut = causality.telling(whole, _TELLING_FEATURES if choice.kind == "features" else _TELLING)
        return causality.look_ahead(compute, sample, at=[int(bars * _CUT), bars - 2], cut=cut)
    except DataError as error:  # another number of rows or columns where the bars are others
        raise uneven(choice, error) from error


def uneven(choice: Choice, error: DataError) -> PluginError:
    """Return the error that a piece returns other rows or columns where the bars are others."""
    from mnqcore.tape.naming import in_full, title

    return PluginError(f"{title(choice)} broke its contract: {error.what}", who=in_full(choice), **error.facts)


def pieces(strategy: Strategy) -> Iterator[tuple[Choice, Compute]]:
    """Yield every plugin that maps bars to columns, and how it is asked."""
    from mnqcore.tape import calls

    for name, choice in strategy.features.items():
        yield choice, lambda view, choice=choice, name=name: calls.features(choice, name, view)  # type: ignore[misc]
    bracket, agent = strategy.bracket, strategy.agent
    yield bracket, lambda view: calls.distances(bracket, view)
    if not strategy.learns:
        yield agent, lambda view: _column(calls.signals(agent, view), "signal")
    for choice in filter(None, (strategy.sizer, strategy.reward)):
        if hasattr(choice.cls, "prepare"):
            yield choice, lambda view, choice=choice: _column(calls.prepared(choice, choice.build(), view), "prepare")  # type: ignore[misc]


def _column(values: NDArray[Any], name: str) -> pd.Series:
    import pandas as pd

    return pd.Series(values, name=name)


def _last(view: MarketView, bars: int) -> MarketView:
    """Return the view as it is with a history of only its last bars."""
    kept = view.bars.iloc[-bars:]
    feeds = {name: feed[feed.index >= kept.index[0]] for name, feed in view.feeds.items()}
    return attrs.evolve(view, bars=kept, factor=view.factor.iloc[-bars:], feeds=feeds)


def _refused(choice: Choice, findings: list[Finding]) -> PluginError:
    from mnqcore.tape.naming import in_full, title

    first = findings[0]
    fault, remedy = _FAULTS[first.check]
    more = f" ({len(findings) - 1} more columns)" if len(findings) > 1 else ""
    return PluginError(
        f"{title(choice)} {fault}",
        where=f"bar {first.time:%Y-%m-%d %H:%M} UTC",
        found=f"of the bars looked at, {first.text}{more}",
        who=in_full(choice),
        next=remedy,
    )
