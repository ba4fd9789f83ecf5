"""Models on bars: made of what was trained, loaded from a run, and traded over the windows that are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mnqcore.agent.model import FeedFacts, Model
    from mnqcore.agent.training import Score
    from mnqcore.api.values import Window
    from mnqcore.market.instruments import Instrument
    from mnqcore.plugins import Plugins
    from mnqcore.stages.ground import Ground
    from mnqcore.stages.play import Play
    from mnqcore.strategy.model import Strategy
    from mnqcore.tape.scaler import Scaler
    from mnqcore.tape.splits import Fold


def model_of(ground: Ground, fold: Fold, learner: Any, scaler: Scaler, *, seed: int, reward_scale: float) -> Model:
    """Return what was trained on a fold with all that it takes to use it."""
    from mnqcore.agent.model import Facts, Model
    from mnqcore.stages.fingerprint import sha256_of

    prepared, strategy = ground.prepared, ground.prepared.strategy
    if strategy.extractor is None:
        raise TypeError("a strategy that learns has an extractor")
    times = prepared.market.times
    facts = Facts(
        strategy=strategy.name,
        digest=strategy.digest(),
        seed=seed,
        fold=fold.number,
        reward_scale=reward_scale,
        bar_size=strategy.bar_size,
        rth=strategy.session.rth,
        further=further_columns(ground),
        data_sha256=prepared.facts["data_sha256"],
        features_sha256=sha256_of(prepared.tape.features),
        train_start=times[fold.train.first].isoformat(),
        train_end=times[fold.train.last].isoformat(),
        validate_end=times[fold.validate.last].isoformat(),
        test_start=times[fold.test.first].isoformat(),
    )
    return Model(
        learner=learner,
        agent=strategy.agent,
        extractor=strategy.extractor,
        features=strategy.features,
        spec=ground.spec,
        scaler=scaler,
        instrument=strategy.instrument,
        facts=facts,
        feeds=feed_facts(ground),
    )


def further_columns(ground: Ground) -> tuple[str, ...]:
    """Return the columns of the bars that feature sets may read beside the usual ones."""
    return _further(ground.prepared.market.raw)


def feed_facts(ground: Ground) -> dict[str, tuple[Instrument, FeedFacts]]:
    """Return name -> of which bars each of a strategy's feeds is."""
    from mnqcore.agent.model import FeedFacts

    market = ground.prepared.market
    return {
        name: (feed.instrument, FeedFacts(bar_size=feed.bar_size, further=_further(market.feeds[name].view.bars)))
        for name, feed in ground.prepared.strategy.feeds.items()
    }


def _further(bars: pd.DataFrame) -> tuple[str, ...]:
    from mnqcore.market.bars import COLUMNS

    return tuple(str(name) for name in bars.columns if name not in COLUMNS)


def load_models(folder: Path, plugins: Plugins) -> list[Model]:
    """Return the models of a run, by the time from which they may be tested.

    Raises:
        UsageError: the run has no model.
        DataError, PluginError: a model is not sound, or computes other values here; it is named.
    """
    from mnqcore.agent import artifact

    if not folder.is_dir():
        raise UsageError("this run holds no model", where=str(folder), next="train one: --stage train")
    alone = (folder / "manifest.json").is_file()
    folders = [folder] if alone else sorted(child for child in folder.iterdir() if child.is_dir())
    found = [artifact.load(one, plugins) for one in folders]
    return sorted(found, key=lambda model: model.facts.test_start)


def refuse_other(models: list[Model], strategy: Strategy) -> None:
    """Refuse models that see something else than what the strategy says: what is tested must be what was trained.

    Costs, bracket, sizer, risk and the session's other settings may differ: those are what a test is for.

    Raises:
        UsageError: names what differs.
    """
    for model in models:
        kept = {key: (choice.name, choice.params, choice.on) for key, choice in model.choices.items()}
        here = {key: (choice.name, choice.params, choice.on) for key, choice in strategy.choices.items() if key in kept}
        differing = [key for key in kept if key != "agent" and kept[key] != here.get(key)]
        differing += [f"features.{name}" for name in strategy.features if name not in model.features]
        differing += _other_feeds(model, strategy)
        if model.spec.observation.lookback != strategy.lookback:
            differing.append("lookback")
        if model.facts.bar_size != strategy.bar_size:
            differing.append("bar_size")
        if model.facts.rth != strategy.session.rth:
            differing.append("session.rth")
        if model.agent.name != strategy.agent.name:
            differing.append("agent.use")
        if differing:
            raise UsageError(
                "the model was trained on something else than the strategy says",
                where=f"a model of strategy {model.facts.strategy}",
                found=f"these differ: {', '.join(differing)}",
                next="name the strategy it was trained with, or train it anew",
            )


def _other_feeds(model: Model, strategy: Strategy) -> list[str]:
    """Return the feeds of which a model has seen bars of another instrument or size; data may be other, as they may."""
    kept = {name: (instrument, facts.bar_size) for name, (instrument, facts) in model.feeds.items()}
    here = {name: (feed.instrument, feed.bar_size) for name, feed in strategy.feeds.items()}
    return [f"feeds.{name}" for name in {**kept, **here} if kept.get(name) != here.get(name)]


def windows_of(ground: Ground, models: list[Model], name: str) -> list[tuple[Model, Window]]:
    """Return the bars that each model trades.

    test: each from its own test on, to where the next one's begins or to the end. validate: the newest trades the
    validation bars of its fold. in-sample: the newest trades all bars that can be decided on.

    Raises:
        DataError: there are no bars after a model's training.
    """
    from mnqcore.api.values import Window

    bars = len(ground.prepared.market.times)
    if name == "in-sample":
        return [(models[-1], Window(first=ground.first, last=bars - 1))]
    if name == "validate":
        return [(models[-1], ground.folds[-1].validate)]
    starts = [min(_bar(ground, model.facts.test_start), bars - 1) for model in models]
    found = [
        (model, Window(first=start, last=end))
        for model, start, end in zip(models, starts, [*starts[1:], bars - 1], strict=True)
        if end > start
    ]
    if not found:
        times, last = ground.prepared.market.times, models[-1].facts
        raise DataError(
            "there are no bars after those that the model was made with",
            where=f"trained to {last.train_end}, tested from {last.test_start}",
            found=f"bars from {times[0]} to {times[-1]}",
            next="give it later bars; --in-sample trades those it was trained on, and says so",
        )
    return found


def _bar(ground: Ground, moment: str) -> int:
    """Return the first bar at or after a moment that can be decided on."""
    import pandas as pd

    return max(int(ground.prepared.market.times.searchsorted(pd.Timestamp(moment))), ground.first)


def score(ground: Ground, learner: Any, features: NDArray[np.float32], window: Window) -> Score:
    """Return how a learner does on a window of bars: the daily Sharpe ratio decides, 0 where it has none.

    An account that never trades has no Sharpe ratio, and so beats one that loses.
    """
    from mnqcore.agent.training import Score
    from mnqcore.stages.play import Part, play_learners

    found = brief(ground, play_learners(ground, [Part(learner=learner, features=features, window=window)]))
    return Score(value=found["sharpe"] or 0.0, figures=found)


def brief(ground: Ground, play: Play) -> dict[str, Any]:
    """Return a play's few figures: net_profit, max_drawdown, sharpe, trades."""
    from mnqcore.metrics.baselines import curve_figures
    from mnqcore.simulator.account import dollars

    balance = ground.prepared.strategy.costs.initial_balance
    trades = len(play.account.trades[0])
    return attrs.asdict(curve_figures(play.market, dollars(play.curve[0]), balance, trades))


def daily_sharpe(ground: Ground, play: Play) -> float | None:
    """Return the Sharpe ratio of a play's days, not annualised; None where it has none."""
    from mnqcore.metrics import risk
    from mnqcore.stages.figures import daily_returns

    return risk.sharpe(daily_returns(ground.prepared.strategy, play), 1.0)
