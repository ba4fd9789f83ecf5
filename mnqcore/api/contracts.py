"""The contract of each kind of plugin, as protocols: one or two methods, the rest optional.

Optional abilities (`warmup`, `prepare`, `reset`) are looked up by name, so a plugin only writes what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    from mnqcore.agent.training import Training
    from mnqcore.api.values import BarRequest, Entry, MarketView, ModelSpec, ObservationSpec, Step

KINDS = ("data", "features", "reward", "bracket", "sizer", "extractor", "agent", "broker", "executor")
"""The kind words, in TOML and on the command line alike."""


class DataSource(Protocol):
    """Delivers bars. With a `contract` column several contracts may share a time; the core stitches them.

    Optional: `how`, a mapping further column -> "first", "last", "max", "min", "sum" or "mean", for feeds made of these
    bars; what it does not name is the last.
    """

    def bars(self, request: BarRequest) -> pd.DataFrame:
        """Return bars indexed by `time` (UTC bar start); raise DataError when there are none."""
        ...


class FeatureSet(Protocol):
    """Computes causal columns of float64 on the index of `view.bars`."""

    @property
    def warmup(self) -> int:
        """Bars after which a different start changes no value by more than 1e-6 of its standard deviation."""
        ...

    def compute(self, view: MarketView) -> pd.DataFrame:
        """Return one row a bar, reading only bars up to that row; NaN where the history is too short."""
        ...


class Reward(Protocol):
    """Judges a step; state is declared with `state()` and cleared by `reset(lanes)`."""

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return shape (n,), in any unit."""
        ...


class Bracket(Protocol):
    """Sets how far stop and target stand from the close at which an order is made."""

    @property
    def warmup(self) -> int:
        """Bars before which distances may be NaN: no entry then."""
        ...

    def levels(self, view: MarketView) -> pd.DataFrame:
        """Return `stop` and optionally `target`: distances in raw price, causal; a NaN target is none."""
        ...


class Sizer(Protocol):
    """Chooses how many contracts an entry takes; stateless."""

    def __call__(self, entry: Entry) -> NDArray[np.int64]:
        """Return shape (m,): 0 = no entry; above `entry.max_contracts` is cut and counted."""
        ...


class Agent(Protocol):
    """A rule: all its actions at once, each reading only the bars up to its own."""

    @property
    def warmup(self) -> int:
        """Bars before which the rule only holds."""
        ...

    def signals(self, view: MarketView) -> pd.Series:
        """Return int8 actions on the index of `view.bars`."""
        ...


class Extractor(Protocol):
    """Reads a window of features into a latent; it never sees the position, so that a bar is encoded once."""

    def build(self, spec: ObservationSpec) -> torch.nn.Module:
        """Return a module from float32 (batch, lookback, n_features) to (batch, latent), `latent` of its choice."""
        ...


class Learner(Protocol):
    """An agent that is trained: `act` on what it has learnt, `save` and `load` it without pickle."""

    def train(self, training: Training) -> None:
        """Learn on `training.env(lanes)`; on return `act` uses what is worth keeping."""
        ...

    def act(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.int64]:
        """Return an action a row: `market_features` (n, lookback, n_features), `position_info` (n, 4)."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learnt into a folder of its own."""
        ...

    def load(self, folder: Path, spec: ModelSpec) -> None:
        """Read what `save` wrote; no code in the files may run."""
        ...


class Executor(Protocol):
    """Runs units of work, here or elsewhere; each is a function of a text that returns a text."""

    def map(self, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
        """Return the answer to each item, in their order."""
        ...
