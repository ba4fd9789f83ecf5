"""`TradingAgent`: a learner on an environment of one's own, without a strategy file; the same trainer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.agent import artifact
from mnqcore.agent.model import Facts, Model
from mnqcore.agent.training import Training
from mnqcore.api.parameters import parameters
from mnqcore.api.values import ModelSpec
from mnqcore.env.scale import reward_scale
from mnqcore.errors import UsageError
from mnqcore.plugins import load
from mnqcore.strategy import reading
from mnqcore.strategy.model import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.env.single import TradingEnv
    from mnqcore.market.instruments import Instrument
    from mnqcore.plugins import Plugins
    from mnqcore.tape.scaler import Scaler


class TradingAgent:
    """Learns on the bars of an environment, and acts on what it has learnt.

    Nothing is validated: give it bars that you do not test on. Rewards are divided by how far they spread under random
    actions, as in a strategy's training.

    Args:
        env: made of a frame: its bars, features and scaler.
        algorithm: an agent that learns, in any case: "PPO", "A2C", or a plugin's.
        feature_extractor: "lstm", "gru", "attention", or a plugin's.
        learning_rate: step of the optimiser; None is the algorithm's own.
        seed: of the training.
        extractor: parameters of the extractor.
        parameters: further parameters of the algorithm: `n_envs`, `gamma`, ...

    Raises:
        PluginError: no such agent or extractor is installed.
        UsageError: a parameter is unknown or out of its range, or the environment was made of an arena.
    """

    def __init__(
        self,
        env: TradingEnv,
        algorithm: str = "PPO",
        feature_extractor: str = "lstm",
        learning_rate: float | None = None,
        *,
        seed: int = 0,
        extractor: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        if env.scaler is None or env.instrument is None:
            raise UsageError("an agent needs an environment made of a frame", next="TradingEnv(df=..., ...)")
        plugins = load()
        given = parameters if learning_rate is None else {**parameters, "learning_rate": learning_rate}
        self.env = env
        self.seed = seed
        self.scaler: Scaler = env.scaler
        self.instrument: Instrument = env.instrument
        self.extractor = _choice(plugins, "extractor", feature_extractor, dict(extractor or {}))
        self.agent = _choice(plugins, "agent", algorithm.lower(), given)
        self.spec = ModelSpec(observation=env.arena.spec, extractor=self.extractor.build())
        self.learner: Any = self.agent.build()

    def train(self, total_timesteps: int, folder: str | Path | None = None) -> TradingAgent:
        """Learn for so many bars, from the beginning, and return itself.

        Args:
            total_timesteps: bars, over all accounts.
            folder: takes progress.csv and checkpoints; None keeps neither.

        Raises:
            UsageError: no number of bars.
            MnqError: the training broke down, or memory ran out.
        """
        self.agent = _evolved(self.agent, timesteps=total_timesteps)
        self.learner = self.agent.build()
        scale = reward_scale(self.env.arena, getattr(self.learner, "gamma", 0.99), self.seed)
        arena = attrs.evolve(self.env.arena, reward_scale=scale)
        with tempfile.TemporaryDirectory() as nowhere:
            place = Path(folder if folder is not None else nowhere)
            self.learner.train(Training(spec=self.spec, seed=self.seed, folder=place, arena=arena))
        return self

    def predict(
        self, observation: Mapping[str, NDArray[Any]], deterministic: bool = True
    ) -> tuple[NDArray[np.int64], None]:
        """Return the action for an observation of the environment, or one a row of several, and None for a state.

        Raises:
            UsageError: it is not trained yet.
        """
        actions: Any = self.policy.predict(dict(observation), deterministic=deterministic)[0]
        return actions, None

    @property
    def policy(self) -> Any:
        """The trained policy; UsageError before it is trained."""
        if self.learner.policy is None:
            raise UsageError("the agent is not trained", next="train(total_timesteps=...), or TradingAgent.load")
        return self.learner.policy

    def save(self, folder: str | Path) -> None:
        """Write the model into a new folder, as plain data; errors as in `artifact.save`."""
        self.policy  # noqa: B018 - an untrained agent is refused here
        model = Model(
            learner=self.learner,
            agent=self.agent,
            extractor=self.extractor,
            features={},
            spec=self.spec,
            scaler=self.scaler,
            instrument=self.instrument,
            facts=Facts(seed=self.seed),
        )
        artifact.save(Path(folder), model)

    @classmethod
    def load(cls, folder: str | Path, env: TradingEnv) -> TradingAgent:
        """Return an agent as it was saved, to act on the observations of an environment with the same columns.

        Raises:
            DataError, PluginError: the model is not sound, or a plugin is missing.
            UsageError: the environment shows other columns, or other windows.
        """
        model = artifact.load(Path(folder), load())
        if model.spec.observation != env.arena.spec:
            raise UsageError(
                "the model sees something else than the environment shows",
                found=f"windows of {env.arena.lookback} bars of {', '.join(env.arena.names)}",
                next=f"the model takes {model.spec.observation.lookback} of {', '.join(model.scaler.names)}",
            )
        agent = cls.__new__(cls)
        agent.env, agent.seed, agent.scaler, agent.instrument = env, model.facts.seed, model.scaler, model.instrument
        agent.extractor, agent.agent, agent.spec, agent.learner = (
            model.extractor, model.agent, model.spec, model.learner,
        )  # fmt: skip
        return agent


def _choice(plugins: Plugins, kind: str, use: str, given: dict[str, Any]) -> Choice:
    piece = plugins.find(kind, use)
    cls = piece.load()
    if kind == "agent" and not callable(getattr(cls, "train", None)):
        raise UsageError(f"agent '{use}' is a rule: there is nothing to train", next="ppo, a2c; mnq list agent")
    if getattr(cls, "remembers", False):
        raise UsageError(
            f"agent '{use}' remembers what it was shown: predict has no place for that", next="train it by a strategy"
        )
    blank = Choice(kind=kind, use=use, distribution=piece.distribution, version=piece.version, params={}, cls=cls)
    return _evolved(blank, **given)


def _evolved(choice: Choice, **given: Any) -> Choice:
    """Return a choice with parameters changed, all others as they are or their defaults."""
    given = {name: value for name, value in {**choice.params, **given}.items() if value is not None}
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    try:
        made = reading.read(choice.cls, plain)
    except Exception as error:  # cattrs' tree of errors, or what a plugin's own check raises
        faults = [f"{fault.kind} {fault.message}" if fault.kind == "unknown" else fault.message
                  for fault in reading.faults(error, choice.cls)]  # fmt: skip
        raise UsageError(f"{choice.kind} '{choice.use}' cannot be set up so", found="; ".join(faults)) from error
    return attrs.evolve(choice, params={name: getattr(made, name) for name in parameters(choice.cls)})
