"""Trains a policy by an algorithm of stable-baselines3 on the accounts of one training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from mnqcore.agent.callback import Watch
from mnqcore.agent.log import open_log
from mnqcore.agent.policy import blank, named_class, policy_kwargs
from mnqcore.errors import MnqError

if TYPE_CHECKING:
    from mnqcore.agent.learner import Sb3Learner
    from mnqcore.agent.training import Training


def train(learner: Sb3Learner, training: Training) -> None:
    """Train, and leave the policy that did best on the validation bars in `learner.policy`.

    Raises:
        MnqError: a weight is no number any more, or memory ran out.
        PluginError: a reward, a sizer or an extractor broke its contract.
    """
    try:
        _learn(learner, training)
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        raise MnqError(
            "memory ran out",
            found=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next="lower agent.n_envs, agent.n_steps or agent.batch_size, or lookback",
        ) from error


def algorithm(learner: Sb3Learner, training: Training) -> Any:
    """Return a fresh model of the learner's algorithm on the training's accounts."""
    kwargs = policy_kwargs(training.spec, learner.hidden, learner.activation, training.arena.features)
    settings = learner.hyperparameters()
    if learner.schedule == "linear":
        rate = settings["learning_rate"]
        settings["learning_rate"] = lambda remaining: rate * remaining
    made = named_class(learner.algorithm)
    return made(
        named_class(learner.network),
        learner.accounts(training),
        policy_kwargs=kwargs | learner.network_options(),
        seed=training.seed,
        device=learner.device,
        **settings,
    )


def _learn(learner: Sb3Learner, training: Training) -> None:
    model = algorithm(learner, training)
    learner.policy = model.policy
    watch = Watch(learner, training)
    watch.init_callback(model)
    watch.resume()
    model.set_logger(open_log(training.folder, training.tensorboard, model.num_timesteps))
    left = learner.timesteps - model.num_timesteps
    try:
        if left > 0:
            model.learn(left, watch, reset_num_timesteps=False)
    except ValueError as error:
        if not str(error).startswith("Expected parameter"):  # torch's words where probabilities are no numbers
            raise
        watch.refuse_broken()
        raise watch.broken("what the network says of an action is no number") from error
    finally:
        model.logger.close()
    learner.policy = blank(
        training.spec, learner.hidden, learner.activation, learner.network, **learner.network_options()
    )
    learner.policy.take(watch.best if watch.best is not None else model.policy.weights())


def _is_lack_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or ("allocate" in text and "memory" in text)
