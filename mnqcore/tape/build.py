"""A strategy's tape: the market, its plugins' columns, and the actions of its rule, if it is one."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs
import pandas as pd

from mnqcore.tape import calls, feeds
from mnqcore.tape.records import NO_FEED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.api.values import Entry
    from mnqcore.strategy.model import Choice, Strategy
    from mnqcore.tape.feeds import Feed
    from mnqcore.tape.market import Market


@attrs.frozen(kw_only=True, eq=False)
class Tape:
    """Everything a run needs of its plugins: the market with distances and signals filled in, actions and the sizer.

    `features`: float64 columns NAME.column. `actions`: int8 by bar, None where the agent learns. `size_of`: asks the
    sizer. `excused`: bool (bars,), where features may lack a value since a feed does; None without feeds.
    """

    market: Market
    features: pd.DataFrame
    actions: NDArray[np.int8] | None
    size_of: Callable[[Entry], NDArray[np.int64]]
    excused: NDArray[np.bool_] | None = None


def build(strategy: Strategy, market: Market, read: Mapping[str, Feed] = MappingProxyType({})) -> Tape:
    """Ask every plugin of a strategy once, and lay what they say beside the bars.

    Args:
        strategy: whose plugins.
        market: its bars; distances and signals are filled in.
        read: name -> feed of each that has data of its own; the others are made of the market's bars.
    """
    market = feeds.beside(strategy, market, read)
    view, orders = market.view, market.orders
    columns = [features(choice, name, market) for name, choice in strategy.features.items()]
    orders["stop"], orders["target"] = calls.levels(strategy.bracket, view)
    if market.unfed is not None:
        orders["stop"][market.unfed] = NO_FEED
    sizer = strategy.sizer.build()
    orders["sizer_signal"] = calls.prepared(strategy.sizer, sizer, view)
    if strategy.reward is not None:
        orders["reward_signal"] = calls.prepared(strategy.reward, strategy.reward.build(), view)
    return Tape(
        market=market,
        features=pd.concat(columns, axis=1) if columns else pd.DataFrame(index=view.bars.index),
        actions=None if strategy.learns else calls.signals(strategy.agent, view),
        size_of=calls.size_of(strategy.sizer, sizer),
        excused=_excused(strategy, market),
    )


def features(choice: Choice, name: str, market: Market) -> pd.DataFrame:
    """Return a feature set's columns as NAME.column, a row a bar; of one on a feed, what is known of it at each bar."""
    if not choice.on:
        return calls.features(choice, name, market.view)
    table = calls.features(choice, name, market.feeds[choice.on].view)
    return market.view.join(choice.on, table)


def _excused(strategy: Strategy, market: Market) -> NDArray[np.bool_] | None:
    """Return where features may lack a value: at a hole, and as long after it as a set that joins by itself warms up.

    What is computed on a feed has holes nowhere else.
    """
    if market.unfed is None:
        return None
    joining = [choice.build() for choice in strategy.features.values() if not choice.on]
    return feeds.lasting(market.unfed, max((int(getattr(one, "warmup", 0)) for one in joining), default=0))
