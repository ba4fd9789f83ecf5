"""Models on a user's own frame of bars and features, without a strategy file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.agent.face import TradingAgent
from mnqcore.agent.latents import latents
from mnqcore.agent.policy import TradingPolicy
from mnqcore.agent.runner import lead, learner_turn, policy_turn
from mnqcore.api.values import Window
from mnqcore.errors import DataError, UsageError
from mnqcore.tape.frame import one_contract
from mnqcore.tape.scaler import first_complete

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.agent.runner import Followed, Turn
    from mnqcore.env.arena import Arena
    from mnqcore.tape.market import Market
    from mnqcore.tape.scaler import Scaler


@attrs.frozen(eq=False)
class _Predicting:
    """A stable-baselines3 model as something that acts."""

    model: Any

    def act(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.model.predict(dict(observation), deterministic=True)[0]
        return found


def play_frame(
    model: Any, features: pd.DataFrame, market: Market, law: NDArray[np.void], initial_balance: float
) -> Followed:
    """Trade one contract by a model over all bars that have a whole window of features before them.

    Args:
        model: a TradingAgent, or a stable-baselines3 model trained on a TradingEnv made of a frame.
        features: the columns that it was trained on, a row a bar of the market.
        market: the bars.
        law: costs and limits.
        initial_balance: dollars.

    Raises:
        DataError: a feature is missing in the midst of the bars, or there are too few of them.
        UsageError: the model does not know how its features were scaled.
    """
    scaler, lookback = _of_training(model)
    window = Window(first=first_complete(features) + lookback - 1, last=len(features) - 1)
    if window.bars < 2:
        raise DataError(
            "too few bars have all features", found=f"{len(features)} bars", next=f"the model looks {lookback} back"
        )
    turn = _turn(model, scaler(features), lookback, window)
    return lead([turn], market.tape, market.orders, law, initial_balance=initial_balance, size_of=one_contract)


def _turn(model: Any, features: NDArray[np.float32], lookback: int, window: Window) -> Turn:
    if isinstance(model, TradingAgent):
        if not isinstance(model.policy, TradingPolicy):
            return learner_turn(model.learner, features, lookback, window)
        seen = latents(model.policy, features, lookback, window)
        return policy_turn(model.policy, seen, features, lookback, window)
    return learner_turn(_Predicting(model), features, lookback, window)


def _of_training(model: Any) -> tuple[Scaler, int]:
    """Return the scaler that a model was trained with, and how many bars it looks back."""
    if isinstance(model, TradingAgent):
        return model.scaler, model.spec.observation.lookback
    try:
        env = model.get_env()
        scaler, arena = env.get_attr("scaler")[0], env.get_attr("arena")[0]
    except AttributeError as error:
        raise _unknown(model) from error
    if scaler is None:
        raise _unknown(model)
    found: tuple[Scaler, Arena] = scaler, arena
    return found[0], found[1].lookback


def _unknown(model: Any) -> UsageError:
    return UsageError(
        "the model does not know how the features of its training were scaled",
        found=type(model).__name__,
        next="give a TradingAgent, or a model trained on TradingEnv(df=..., feature_columns=...)",
    )
