"""A strategy's tape: the market, its plugins' columns, and the actions of its rule, if it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pandas as pd

from mnqcore.tape import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.api.values import Entry
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape.market import Market


@attrs.frozen(kw_only=True, eq=False)
class Tape:
    """Everything a run needs of its plugins: the market with distances and signals filled in, actions and the sizer.

    `features`: float64 columns NAME.column. `actions`: int8 by bar, None where the agent learns. `size_of`: asks the
    sizer.
    """

    market: Market
    features: pd.DataFrame
    actions: NDArray[np.int8] | None
    size_of: Callable[[Entry], NDArray[np.int64]]


def build(strategy: Strategy, market: Market) -> Tape:
    """Ask every plugin of a strategy once, and lay what they say beside the bars."""
    view, orders = market.view, market.orders
    columns = [calls.features(choice, name, view) for name, choice in strategy.features.items()]
    orders["stop"], orders["target"] = calls.levels(strategy.bracket, view)
    sizer = strategy.sizer.build()
    orders["sizer_signal"] = calls.prepared(strategy.sizer, sizer, view)
    if strategy.reward is not None:
        orders["reward_signal"] = calls.prepared(strategy.reward, strategy.reward.build(), view)
    return Tape(
        market=market,
        features=pd.concat(columns, axis=1) if columns else pd.DataFrame(index=view.bars.index),
        actions=None if strategy.learns else calls.signals(strategy.agent, view),
        size_of=calls.size_of(strategy.sizer, sizer),
    )
