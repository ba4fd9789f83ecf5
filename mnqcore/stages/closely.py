"""Looks at far more places than a run does whether anything in a strategy knows the future, piece by piece and whole.

The whole is what a run would make of the bars: every plugin's columns beside the tape, the scaler of the training
bars, and an account that is led by them. It is made of bars with another future, and must be the same up to then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.values import MarketView
    from mnqcore.causality import Finding
    from mnqcore.stages.prepare import Prepared
    from mnqcore.strategy.model import Choice, Strategy
    from mnqcore.tape import Market
    from mnqcore.tape.feeds import Feed

    Compute = Callable[[MarketView], pd.DataFrame | pd.Series]
    Progress = Callable[[str], None]

PLACES = 40
"""Places, spread over the whole history, at which each piece is given another future."""
_TELLING = 6  # further bars about each place at which a piece says something new
_BEFORE, _BEHIND = 600, 160  # bars about a place, beside twice the warm-up
_WHOLE = 4_000  # bars of which the whole is made
_WHOLE_PLACES = (0.35, 0.6, 0.85)
_SEED = 5


@attrs.frozen(kw_only=True)
class Peek:
    """Something that is not what it says: `check` as in `causality.Finding`, or "scaler" or "account".

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
    """What was looked at, and what was found: at most one of each piece, column and check."""

    strategy: str
    bars: int
    places: int
    pieces: tuple[str, ...]
    found: tuple[Peek, ...]


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
    from mnqcore.tape.feeds import beside

    progress("bars")
    read = read_feeds(strategy)
    market = beside(strategy, read_market(strategy), read)
    views = {"": market.view, **{name: feed.view for name, feed in market.feeds.items()}}
    found, asked = [], []
    for choice, compute in pieces(strategy):
        key = _key(strategy, choice)
        progress(key)
        asked.append(key)
        found += [_peek(market, key, choice, finding) for finding in _of_piece(choice, compute, views[choice.on])]
    progress("the whole")
    if not found:  # else the same would be told again, without a name
        found += _of_whole(strategy, market, read)
    return Looked(strategy=strategy.name, bars=len(market.tape), places=PLACES, pieces=tuple(asked), found=tuple(found))


def _key(strategy: Strategy, choice: Choice) -> str:
    return next((key for key, other in strategy.choices.items() if other is choice), choice.kind)


def _peek(market: Market, key: str, choice: Choice, finding: Finding) -> Peek:
    return Peek(
        check=finding.check,
        key=key,
        owner=f"{choice.distribution} {choice.version}, {choice.cls.__module__}.{choice.cls.__qualname__}",
        column=finding.column,
        bar=int(market.times.searchsorted(finding.time)),
        time=finding.time,
        text=finding.text,
    )


def _of_piece(choice: Choice, compute: Compute, view: MarketView) -> list[Finding]:
    """Return what is found of one piece; what writes to bars or draws lots is told, and not called a peeker."""
    from mnqcore import causality

    warmup = int(getattr(choice.build(), "warmup", 0))
    windows = list(_windows(view, warmup))
    first = windows[0][0]
    try:
        if found := causality.mutations(compute, first) or causality.strays(compute, first):
            return found
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
        raise PluginError(f"{choice.kind} '{choice.use}' broke its contract: {error.what}", **error.facts) from error


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


# The whole


def _of_whole(strategy: Strategy, market: Market, read: Mapping[str, Feed]) -> list[Peek]:
    """Return what changes in the columns beside the tape, in the scaler or in the account, when later bars change."""
    import numpy as np

    raw = market.raw.iloc[-_WHOLE:]
    usual = _prepared(strategy, raw, read)
    n = len(usual.market.tape)
    found: list[Peek] = []
    if n < 100:
        return []
    columns, generator = _columns(usual), np.random.default_rng(_SEED)
    for t in [int(n * share) for share in _WHOLE_PLACES]:
        for other in (_another(raw, t, strategy, generator), raw.iloc[: t + 1]):
            changed = _columns(_prepared(strategy, other, read)).iloc[: t + 1]
            if len(other) == t + 1:  # where bars end, everything is closed
                changed = changed.assign(equity=[*changed["equity"].iloc[:-1], columns["equity"].iloc[t]])
            found += _compared(usual.market, columns, changed)
    return _firsts([*found, *(_of_scaler(usual, raw, read, generator) if strategy.learns else ())])


def _firsts(found: list[Peek]) -> list[Peek]:
    known: dict[str, Peek] = {}
    for peek in found:
        known.setdefault(peek.column, peek)
    return list(known.values())


def _compared(market: Market, before: pd.DataFrame, after: pd.DataFrame) -> Iterator[Peek]:
    from mnqcore import causality

    for column, bar, _ in causality.changes(before, after):
        text = f"{column} changes at bar {bar:,} when bars from {len(after):,} on change"
        yield _of_all("account" if column == "equity" else "look-ahead", column, bar, market, text)


def _of_all(check: str, column: str, bar: int, market: Market, text: str) -> Peek:
    return Peek(check=check, key="", owner="", column=column, bar=bar, time=market.times[bar], text=text)


def _prepared(strategy: Strategy, raw: pd.DataFrame, read: Mapping[str, Feed]) -> Prepared:
    """Return the strategy on some bars, as a run prepares it."""
    from mnqcore.market.bars import bar_size
    from mnqcore.simulator import rulebook
    from mnqcore.stages.prepare import Prepared
    from mnqcore.tape import build, lay

    market = lay(raw, strategy.instrument, strategy.session, bar_size(strategy.bar_size))
    law = rulebook(strategy.instrument, strategy.costs, strategy.risk)
    return Prepared(strategy=strategy, tape=build(strategy, market, read), law=law, facts={})


def _another(raw: pd.DataFrame, t: int, strategy: Strategy, generator: np.random.Generator) -> pd.DataFrame:
    """Return the bars with another future after bar t, on the tick grid."""
    import numpy as np

    from mnqcore import causality
    from mnqcore.market.bars import PRICES

    found = causality.another_future(raw, np.arange(len(raw)) > t, generator)
    tick = strategy.instrument.tick_size
    return found.assign(**{name: np.maximum((found[name] / tick).round(), 1) * tick for name in PRICES})


def _columns(prepared: Prepared) -> pd.DataFrame:
    """Return all that plugins say of the bars, and the account that follows a rule, or acts at random."""
    import pandas as pd

    tape, orders = prepared.tape, prepared.market.orders
    beside = {name: orders[name].astype("float64") for name in ("stop", "target", "sizer_signal", "reward_signal")}
    actions = _random(len(orders)) if tape.actions is None else tape.actions
    own = {} if tape.actions is None else {"signal": tape.actions.astype("float64")}
    equity = _account(prepared, actions)
    return pd.concat(
        [tape.features, pd.DataFrame(beside | own | {"equity": equity}, index=tape.features.index)], axis=1
    )


def _random(n: int) -> NDArray[np.int8]:
    import numpy as np

    return np.random.default_rng(_SEED).choice(4, n, p=(0.9, 0.04, 0.04, 0.02)).astype(np.int8)


def _account(prepared: Prepared, actions: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the equity at each close, dollars."""
    from mnqcore.simulator import Account

    market, balance = prepared.market, prepared.strategy.costs.initial_balance
    account = Account(market.tape, market.orders, prepared.law, initial_balance=balance)
    micros = account.run(actions, size_of=prepared.tape.size_of)[0]
    equity: NDArray[np.float64] = micros / 1e6
    return equity


def _of_scaler(
    usual: Prepared, raw: pd.DataFrame, read: Mapping[str, Feed], generator: np.random.Generator
) -> Iterator[Peek]:
    """Yield the columns that are scaled otherwise when bars after those of the training change."""
    from mnqcore.stages.ground import ground

    try:
        on = ground(usual)
        fold = on.folds[0]
    except DataError:  # too few bars in the sample: a run would say so
        return
    before = on.scaler(fold)
    last = fold.train.last
    changed = ground(_prepared(usual.strategy, _another(raw, last, usual.strategy, generator), read))
    after = changed.scaler(fold)
    for at, name in enumerate(before.names):
        if abs(before.mean[at] - after.mean[at]) > 1e-9 * before.deviation[at]:
            text = f"{name} is scaled by bars after those of the training"
            yield _of_all("scaler", name, last, usual.market, text)


def as_record(peek: Peek) -> dict[str, Any]:
    """Return a finding as plain JSON."""
    return {**attrs.asdict(peek), "time": peek.time.isoformat()}
