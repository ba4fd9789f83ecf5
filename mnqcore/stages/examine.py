"""Examines models on a window of bars: their play, their folds, and the other seeds beside the run's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnqcore.agent.model import Model
    from mnqcore.api.values import Window
    from mnqcore.stages.ground import Ground
    from mnqcore.stages.play import Play


@attrs.frozen(kw_only=True, eq=False)
class Examined:
    """What models did: `shares` holds the window of each, in order; `play` is of the whole of them."""

    shares: tuple[tuple[Model, Window], ...]
    play: Play


def examine(ground: Ground, shares: Sequence[tuple[Model, Window]], kept: Path | None) -> Examined:
    """Trade one account by the models, each on its own window.

    Args:
        ground: the strategy on its bars.
        shares: models and their windows, each beginning where the one before ends.
        kept: folder in which what the extractors make of the bars is kept for the next time.
    """
    from mnqcore.stages.play import Part, play_learners

    table = ground.prepared.tape.features
    parts = [Part(learner=one.learner, features=one.scaler(table), window=window, kept=kept) for one, window in shares]
    return Examined(shares=tuple(shares), play=play_learners(ground, parts))


def by_fold(ground: Ground, examined: Examined) -> dict[int, dict[str, Any]]:
    """Return fold -> its model's share of the play: first and last bar, net_profit, max_drawdown, sharpe, trades.

    The account runs through all of them, so a share's profit counts from the equity that the one before left.
    """
    from mnqcore.metrics.baselines import curve_figures
    from mnqcore.simulator.account import dollars

    play, found = examined.play, {}
    curve, start = dollars(play.curve[0]), examined.shares[0][1].first
    entered = play.account.trades[0]["entry_bar"]
    for model, window in examined.shares:
        first, last = window.first - start, window.last - start
        market = ground.prepared.market.between(window)
        trades = int(((entered > first) & (entered <= last)).sum())
        figures = curve_figures(market, curve[first : last + 1], float(curve[first]), trades)
        found[model.facts.fold] = {**ground.dates(window), **attrs.asdict(figures)}
    return found


def habits(play: Play) -> dict[str, Any]:
    """Return how often a model held, chose what has no effect, and was denied, as shares of the bars it decided on.

    With feeds, `blind` counts the bars at which it was not asked.
    """
    from mnqcore.api.values import Action
    from mnqcore.rules import Denial

    bars = play.decided
    denied = sum(int(play.account.denied[0][reason]) for reason in Denial if reason)
    holds = int((play.actions == Action.HOLD).sum()) - (len(play.actions) - bars)
    idle = int(play.account.ledger[0]["idle"])
    found = {"hold": holds / bars, "no_op": idle / bars, "denied": denied / bars, "ties": play.ties, "bars": bars}
    return found if play.blind is None else found | {"blind": play.blind}
