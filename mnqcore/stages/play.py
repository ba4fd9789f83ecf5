"""A play: one account traded over a stretch of bars, by a rule's actions or by a model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.agent.runner import Turn
    from mnqcore.api.values import Window
    from mnqcore.simulator import Account
    from mnqcore.stages.ground import Ground
    from mnqcore.stages.prepare import Prepared
    from mnqcore.tape import Market


@attrs.frozen(kw_only=True, eq=False)
class Play:
    """What was traded: numbers of bars count from the first bar of `market`.

    `actions`: int8, what the agent chose at each close. `curve`: equity in micro-units, int64 (1, bars). `seconds`: of
    the simulator alone. `decided`: bars that a model decided on, `ties` those on which it preferred two actions alike.
    `blind`: bars at which it held, not asked, since a feed left its window incomplete; None without feeds.
    """

    market: Market
    account: Account
    actions: NDArray[np.int8]
    curve: NDArray[np.int64]
    seconds: float
    decided: int = 0
    ties: int = 0
    blind: int | None = None


def play_rule(prepared: Prepared) -> Play:
    """Trade the actions of a rule over all bars."""
    import numpy as np

    from mnqcore.simulator import Account

    market, tape = prepared.market, prepared.tape
    if tape.actions is None:
        raise TypeError("an agent that learns has no actions before it is trained")
    account = Account(market.tape, market.orders, prepared.law, initial_balance=prepared.strategy.costs.initial_balance)
    _load_machine_code(market, prepared.law)
    began = time.perf_counter()
    curve = account.run(np.asarray(tape.actions), size_of=tape.size_of)
    took = time.perf_counter() - began
    _refuse_false_books(account)
    return Play(market=market, account=account, actions=tape.actions, curve=curve, seconds=took)


@attrs.frozen(kw_only=True, eq=False)
class Part:
    """A learner's share of a play: its features, scaled, of the whole tape, and the bars that it decides on.

    `kept`: folder in which what its extractor makes of the bars is kept for the next play, or None.
    """

    learner: Any
    features: NDArray[np.float32]
    window: Window
    kept: Path | None = None


def play_learners(ground: Ground, parts: Sequence[Part]) -> Play:
    """Trade one account by one or several learners, each from the bar at whose close the one before ends."""
    from mnqcore.agent.runner import lead
    from mnqcore.api.values import Window
    from mnqcore.tape.naming import answering

    prepared = ground.prepared
    whole = Window(first=parts[0].window.first, last=parts[-1].window.last)
    market = prepared.market.between(whole)
    with answering("build", prepared.strategy.extractor):
        turns = [_turn(ground, part) for part in parts]
    blind = _blind(ground, parts)
    began = time.perf_counter()
    with answering("act", prepared.strategy.agent, prepared.strategy.extractor):
        led = lead(
            turns,
            market.tape,
            market.orders,
            prepared.law,
            initial_balance=prepared.strategy.costs.initial_balance,
            size_of=prepared.tape.size_of,
            start=whole.first,
            blind=blind,
        )
    took = time.perf_counter() - began
    _refuse_false_books(led.account)
    return Play(
        market=market,
        account=led.account,
        actions=led.actions,
        curve=led.equity,
        seconds=took,
        decided=led.decided,
        ties=led.ties,
        blind=None if blind is None else led.blind,
    )


def _blind(ground: Ground, parts: Sequence[Part]) -> NDArray[np.bool_] | None:
    """Return at which bars no window is whole: the same for all models, since all see the same features."""
    return ground.blind(parts[0].features)


def _turn(ground: Ground, part: Part) -> Turn:
    """Return the fast turn of a policy, the plain one of any other learner."""
    from mnqcore.agent.latents import latents
    from mnqcore.agent.policy import TradingPolicy
    from mnqcore.agent.runner import learner_turn, policy_turn

    lookback, policy = ground.prepared.strategy.lookback, getattr(part.learner, "policy", None)
    features = ground.whole(part.features)
    if not isinstance(policy, TradingPolicy):
        return learner_turn(part.learner, features, lookback, part.window)
    seen = latents(policy, features, lookback, part.window, part.kept)
    return policy_turn(policy, seen, features, lookback, part.window)


def _refuse_false_books(account: Account) -> None:
    """Stop if the ledger does not add up: a bug of mnq, which no figure may hide."""
    rows, led = account.trades[0], account.ledger[0]
    earned = int(rows["gross"].sum() - rows["commission"].sum())
    if int(led["equity"] - led["initial"]) != earned:
        raise MnqError(
            "the ledger does not add up: this is a bug in mnq",
            found=f"equity changed by {led['equity'] - led['initial']}, trades made {earned} (micro-units)",
        )


def _load_machine_code(market: Market, law: NDArray[np.void]) -> None:
    """Run two bars, so that the kernel is timed and not the loading of its code from disk."""
    import numpy as np

    from mnqcore.simulator import Account

    account = Account(market.tape[:2], market.orders[:2], law, initial_balance=1.0)
    account.run(np.zeros(2, np.int8), size_of=lambda entry: np.zeros(len(entry.side), np.int64))
