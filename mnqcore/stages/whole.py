"""Makes the whole of a strategy again of bars with another future, and sees that nothing before it changes.

The whole is what a run makes of the bars: every plugin's columns beside the tape, an account that is led by them, and
for a strategy that learns the scaler of its training bars and the environment it is trained in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.api.values import Window
    from mnqcore.causality import Finding
    from mnqcore.env import Arena, TradingEnv
    from mnqcore.stages.ground import Ground
    from mnqcore.stages.prepare import Prepared
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape import Market
    from mnqcore.tape.feeds import Feed
    from mnqcore.tape.scaler import Scaler

_MOST = 4_000  # bars of which the whole is made
_FEWEST = 100
_PLACES = (0.35, 0.6, 0.85)
"""Where bars become others, as shares of the bars, or of those of the training."""
_SEED = 5


def of_whole(strategy: Strategy, raw: pd.DataFrame, read: Mapping[str, Feed]) -> tuple[list[Finding], str]:
    """Return what changes before the bars that change, at most one finding a column; and what was not looked at, why.

    `check` of a finding is "look-ahead", of a column; "account", of the equity; "scaler", of a column's mean; or
    "environment", of a reward or an observation.

    Args:
        strategy: whose plugins are asked.
        raw: its bars; the last 4,000 are taken, and nothing is seen of fewer than 100.
        read: its feeds that have data of their own.

    Raises:
        PluginError: a plugin raised, or broke its contract.
    """
    import numpy as np

    raw = raw.iloc[-_MOST:]
    usual = _prepared(strategy, raw, read)
    if len(usual.market.tape) < _FEWEST:
        return [], f"the whole ({len(usual.market.tape)} bars are too few)"
    generator = np.random.default_rng(_SEED)
    found = list(_of_columns(usual, raw, read, generator))
    skipped = ""
    if strategy.learns:
        try:
            found += _of_training(usual, raw, read, generator)
        except DataError as error:  # the last bars are too few for its split, though all of them may do
            skipped = f"scaler and environment ({error.what})"
    known: dict[str, Finding] = {}
    for finding in found:
        known.setdefault(finding.column, finding)
    return list(known.values()), skipped


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


def _compared(market: Market, before: pd.DataFrame, after: pd.DataFrame) -> Iterator[Finding]:
    """Yield the columns that differ although the rows of `after` are of bars that are the same."""
    from mnqcore import causality

    for column, bar, error in causality.changes(before, after):
        text = f"{column} changes at bar {bar:,} when bars from {len(after):,} on change"
        check = "account" if column == "equity" else "look-ahead"
        yield causality.Finding(
            check=check, column=column, bar=bar, time=market.times[bar], error=error, text=text, ahead=len(after) - bar
        )  # fmt: skip


# Columns and account


def _of_columns(
    usual: Prepared, raw: pd.DataFrame, read: Mapping[str, Feed], generator: np.random.Generator
) -> Iterator[Finding]:
    """Yield the columns beside the tape, and the equity, that change."""
    columns, n = _columns(usual), len(usual.market.tape)
    for t in [int(n * share) for share in _PLACES]:
        for other in (_another(raw, t, usual.strategy, generator), raw.iloc[: t + 1]):
            changed = _columns(_prepared(usual.strategy, other, read)).iloc[: t + 1]
            if len(other) == t + 1:  # where bars end, everything is closed
                changed = changed.assign(equity=[*changed["equity"].iloc[:-1], columns["equity"].iloc[t]])
            yield from _compared(usual.market, columns, changed)


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


# Training


def _of_training(
    usual: Prepared, raw: pd.DataFrame, read: Mapping[str, Feed], generator: np.random.Generator
) -> Iterator[Finding]:
    """Yield what is scaled otherwise when bars after the training's change, and what the environment knows of them."""
    from mnqcore.stages.ground import ground

    def altered(t: int) -> Ground:
        return ground(_prepared(usual.strategy, _another(raw, t, usual.strategy, generator), read))

    on = ground(usual)
    fold = on.folds[0]
    scaler, first, last = on.scaler(fold), fold.train.first, fold.train.last
    yield from _of_scaler(usual.market, scaler, altered(last).scaler(fold), last)
    for t in [first + int((last - first) * share) for share in _PLACES]:
        # The scaler may know all bars of the training, and so stays as it is.
        one, other = (_environment(each, fold.train, scaler) for each in (on, altered(t)))
        yield from _of_environment(one, other, t)


def _of_scaler(market: Market, before: Scaler, after: Scaler, last: int) -> Iterator[Finding]:
    from mnqcore import causality

    for at, name in enumerate(before.names):
        error = abs(before.mean[at] - after.mean[at]) / before.deviation[at]
        if error > 1e-9:
            text = f"{name} is scaled by bars after those of the training"
            yield causality.Finding(
                check="scaler", column=name, bar=last, time=market.times[last], error=float(error), text=text
            )  # fmt: skip


def _environment(on: Ground, window: Window, scaler: Scaler) -> TradingEnv:
    from mnqcore.env import TradingEnv

    return TradingEnv(arena=on.arena(window, scaler(on.prepared.tape.features), reward_scale=1.0))


def _of_environment(one: TradingEnv, other: TradingEnv, t: int) -> Iterator[Finding]:
    """Yield what two environments tell that differs, at the first bar up to t where they do.

    Both are acted in at random, the same way; an episode begins where the last one ended.
    """
    arena, bar, over = one.arena, one.arena.window.first, True
    actions = _random(len(arena.tape)).tolist()
    while bar < t:
        if over:
            begin = {"start": bar, "balance": arena.initial_balance}
            one.reset(options=begin), other.reset(options=begin)
        told, altered = one.step(actions[bar]), other.step(actions[bar])
        bar, over = told[-1]["bar"], told[2] or told[3]
        if names := list(_unlike(arena, told, altered)):
            yield from (_told(arena, name, bar, t) for name in names)
            return


def _unlike(arena: Arena, told: tuple[Any, ...], altered: tuple[Any, ...]) -> Iterator[str]:
    """Yield what differs beyond rounding in what two steps returned."""
    import numpy as np

    (seen, paid, *ends, _), (others, other_paid, *other_ends, _) = told, altered
    if ends != other_ends:
        yield "end of the episode"
    if not np.isclose(paid, other_paid, rtol=1e-6, atol=1e-9):
        yield "reward"
    if not np.allclose(seen["position_info"], others["position_info"], rtol=1e-6):
        yield "position_info"
    same = np.isclose(seen["market_features"], others["market_features"], rtol=1e-6, atol=1e-6)
    yield from (f"market_features {arena.names[at]}" for at in np.flatnonzero(~same.all(axis=0)).tolist())


def _told(arena: Arena, name: str, bar: int, t: int) -> Finding:
    import pandas as pd

    from mnqcore import causality

    time = pd.Timestamp(int(arena.orders["time"][bar]), tz="UTC")
    text = f"{name} changes at bar {bar:,} when bars from {t + 1:,} on change"
    return causality.Finding(
        check="environment", column=name, bar=bar, time=time, error=float("inf"), text=text, ahead=t + 1 - bar
    )  # fmt: skip
