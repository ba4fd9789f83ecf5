"""What a learner is handed: the bars it may learn on, the bars it is judged on, and where it leaves its traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.env.vector import TradingVecEnv

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnqcore.api.contracts import Learner
    from mnqcore.api.values import ModelSpec
    from mnqcore.env.arena import Arena


@attrs.frozen(kw_only=True)
class Score:
    """How a policy did on the validation bars: the figure that decides, and what else is worth logging."""

    value: float
    figures: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True, eq=False)
class Training:
    """One training: a seed on one stretch of bars.

    `arena` holds the training bars alone: no window of it, and no callback, reaches the test bars. `validate` trades
    the validation bars with what has been learnt so far; without it nothing is judged, and the last policy is kept.
    `folder` takes the log and the checkpoints; a checkpoint found there is resumed. `progress` is told how many bars
    are done.
    """

    spec: ModelSpec
    seed: int
    folder: Path
    arena: Arena
    validate: Callable[[Learner], Score] | None = None
    tensorboard: bool = False
    progress: Callable[[int], None] = lambda _done: None

    def env(self, lanes: int) -> TradingVecEnv:
        """Return a stable-baselines3 VecEnv of this many accounts on the training bars, observing bar numbers."""
        return TradingVecEnv(self.arena, lanes, observe="bar", seed=self.seed)
