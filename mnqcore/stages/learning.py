"""The stages of a strategy that learns: train, then backtest what was trained on bars it has never seen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from mnqcore.agent.model import Model
    from mnqcore.plugins import Plugins
    from mnqcore.runs import Draft, Run
    from mnqcore.stages.backtest import Backtest
    from mnqcore.stages.ground import Ground
    from mnqcore.stages.options import Options
    from mnqcore.stages.prepare import Progress
    from mnqcore.stages.train import Trained
    from mnqcore.strategy.model import Strategy

SEEN, ENCODED = ".seen", ".encoded"
"""Folders under the runs directory: strategies that were seen to know no future; what extractors made of bars."""


@attrs.frozen(kw_only=True, eq=False)
class Candidate:
    """The models of one seed, one a fold; `score` is that of the validation bars, None where it is not known."""

    seed: int
    models: list[Model]
    score: float | None = None


@attrs.frozen(kw_only=True, eq=False)
class Entrants:
    """What is examined: the run's own models first, then those of its other seeds.

    `folds`: what is known of each fold's training and validation. `origin`: the run that the models were taken from.
    """

    candidates: tuple[Candidate, ...]
    folds: list[dict[str, Any]]
    origin: str | None = None


def learn(
    strategy: Strategy,
    plugins: Plugins,
    draft: Draft,
    progress: Progress,
    stages: tuple[str, ...],
    options: Options,
) -> Backtest:
    """Run the stages, and return the backtest: of the test bars, or of the validation bars where only trained.

    Raises:
        UsageError: the model is of another strategy, or the run to resume is.
        DataError: too few bars, or none after the model's.
        MnqError: the training broke down.
        PluginError: a plugin broke its contract, or looks into the future.
    """
    from mnqcore.runs import open_run
    from mnqcore.stages.ground import ground
    from mnqcore.stages.models import refuse_other
    from mnqcore.stages.prepare import prepare
    from mnqcore.stages.resume import note_inputs, take_up

    began = time.perf_counter()
    on = ground(prepare(strategy, progress, cache=draft.base / SEEN))
    if "train" in stages:
        take_up(options, draft, on.prepared, plugins)
        note_inputs(on.prepared, draft, options)
        progress("training")
        entrants = _trained(_train(on, plugins, draft, options), draft, plugins)
    elif options.model is None:
        raise TypeError("an agent that learns is trained, or its models are named")
    else:
        entrants = of_run(open_run(options.model, draft.base), plugins)
        refuse_other(entrants.candidates[0].models, strategy)
    window = ("in-sample" if options.in_sample else "test") if "backtest" in stages else "validate"
    progress("simulator")
    return assess_models(on, entrants, window, draft.base / ENCODED, progress, began)


def _train(on: Ground, plugins: Plugins, draft: Draft, options: Options) -> Trained:
    from mnqcore.agent.probe import canned_columns
    from mnqcore.stages.models import feed_facts, further_columns
    from mnqcore.stages.train import train

    strategy = on.prepared.strategy
    # What raises on the bars of a model's probe could not be saved: better known before the training than after.
    canned_columns(
        strategy.features,
        strategy.instrument,
        strategy.bar_size,
        rth=strategy.session.rth,
        further=further_columns(on),
        feeds=feed_facts(on),
    )
    copies = sorted((draft.folder / "plugins").glob("*.py"))
    return train(
        on,
        draft.folder,
        plugins=[*map(str, copies), *plugins.switched_off],
        seeds=options.seeds,
        tensorboard=options.tensorboard,
        show=options.show,
    )


def _trained(trained: Trained, draft: Draft, plugins: Plugins) -> Entrants:
    """Return what was trained, read back from disk as any later command will."""
    from mnqcore.stages.models import load_models

    def candidate(seed: int) -> Candidate:
        folders = trained.folders[seed]
        models = [model for folder in folders for model in load_models(folder, plugins)]
        return Candidate(seed=seed, models=models, score=trained.scores[seed])

    others = [seed for seed in trained.scores if seed != trained.seed]
    folds = [unit for unit in trained.units if unit["seed"] == trained.seed]
    return Entrants(candidates=tuple(candidate(seed) for seed in (trained.seed, *others)), folds=folds)


def of_run(run: Run, plugins: Plugins, *, all_seeds: bool = False) -> Entrants:
    """Return the models of a run, and what it knows of their training; with `all_seeds` those of its other seeds too.

    Raises:
        UsageError: the run has none.
        DataError, PluginError: a model is not sound, or computes other values here.
    """
    from mnqcore.stages.models import load_models

    model = run.manifest.get("model")
    if model is None:
        raise UsageError("this run is a rule's: it holds no model", where=run.name, next="name one that was trained")
    if model["origin"] is not None:
        raise UsageError("this run tested models of another run", where=run.name, next=f"--model {model['origin']}")
    scores = {known["seed"]: known["score"] for known in run.metrics["learning"]["seeds"]}
    own = Candidate(seed=model["seed"], models=load_models(run.path / "model", plugins), score=scores[model["seed"]])
    others = [
        Candidate(seed=seed, models=_of_seed(run, seed, plugins), score=score)
        for seed, score in scores.items()
        if all_seeds and seed != own.seed
    ]
    return Entrants(candidates=(own, *others), folds=model["folds"], origin=run.name)


def _of_seed(run: Run, seed: int, plugins: Plugins) -> list[Model]:
    from mnqcore.stages.models import load_models

    folders = sorted((run.path / "units").glob(f"seed-{seed}-fold-*/model"))
    found = [model for folder in folders for model in load_models(folder, plugins)]
    return sorted(found, key=lambda model: model.facts.test_start)


def assess_models(
    on: Ground, entrants: Entrants, window: str, kept: Path | None, progress: Progress, began: float
) -> Backtest:
    """Return every figure of the models on a window of bars: "test", "validate" or "in-sample".

    Raises:
        DataError: there are no bars for it.
    """
    from mnqcore.stages.backtest import assess
    from mnqcore.stages.examine import by_fold, examine, habits
    from mnqcore.stages.models import brief, daily_sharpe, windows_of

    own, *others = entrants.candidates
    examined = examine(on, windows_of(on, own.models, window), kept)
    play = examined.play
    rivals = [(one, examine(on, windows_of(on, one.models, window), kept).play) for one in others]
    seeds = [{"seed": one.seed, "score": one.score, **brief(on, done)} for one, done in [(own, play), *rivals]]
    shares = by_fold(on, examined)  # of the folds that had bars to trade
    folds = [
        {"fold": known["fold"], **known["windows"], **({window: found} if (found := shares.get(known["fold"])) else {})}
        for known in entrants.folds
    ]
    learning = {"actions": habits(play), "folds": folds, "seeds": sorted(seeds, key=lambda one: one["seed"])}
    dates = {"first": play.market.times[0].isoformat(), "last": play.market.times[-1].isoformat()}
    facts = {
        "seed": own.seed,
        "folds": entrants.folds,
        "origin": entrants.origin,
        "weights": [one.sha256 for one in own.models],
        "others": [
            {"seed": one.seed, "weights": [model.sha256 for model in one.models], "sharpe": daily_sharpe(on, done)}
            for one, done in rivals
        ],
        "bit_equal": all(one.report.bit_equal for one in own.models if one.report),
    }
    metrics = {"window": {"name": window, **dates}, "learning": learning}
    return assess(on.prepared, play, progress, began, metrics=metrics, facts=facts)
