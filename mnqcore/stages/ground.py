"""What a learner stands on: its features in windows of bars, and the folds it is trained and tested on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnqcore.api.values import ModelSpec, Window
    from mnqcore.env.arena import Arena
    from mnqcore.stages.prepare import Prepared
    from mnqcore.tape.scaler import Scaler
    from mnqcore.tape.splits import Fold


@attrs.frozen(kw_only=True, eq=False)
class Ground:
    """A prepared strategy that learns.

    `first` is the first bar that can be decided on: its features are complete, and so are those of the window before.
    """

    prepared: Prepared
    first: int

    @property
    def spec(self) -> ModelSpec:
        """What the policy is built for."""
        from mnqcore.api.values import ModelSpec, ObservationSpec

        strategy, names = self.prepared.strategy, tuple(self.prepared.tape.features.columns)
        shape = ObservationSpec(lookback=strategy.lookback, n_features=len(names), names=names)
        if strategy.extractor is None:
            raise TypeError("a strategy that learns has an extractor")
        return ModelSpec(observation=shape, extractor=strategy.extractor.build())

    @property
    def folds(self) -> tuple[Fold, ...]:
        """The folds of the strategy's split; DataError where the bars are too few."""
        from mnqcore.tape.splits import folds

        return folds(self.prepared.strategy.split, self.first, len(self.prepared.market.tape))

    def scaler(self, fold: Fold) -> Scaler:
        """Return the scaler of a fold's training bars."""
        from mnqcore.tape.scaler import Scaler

        return Scaler.fit(self.prepared.tape.features, slice(fold.train.first, fold.train.last + 1))

    def arena(self, window: Window, features: NDArray[np.float32], reward_scale: float) -> Arena:
        """Return the accounts' playground on a window of bars; `features` are scaled, NaN where a feed is missing."""
        from mnqcore.env.arena import Arena
        from mnqcore.tape.calls import Judge

        prepared, strategy = self.prepared, self.prepared.strategy
        reward = strategy.reward
        if reward is None:
            raise TypeError("a strategy that learns has a reward")
        return Arena(
            tape=prepared.market.tape,
            orders=prepared.market.orders,
            law=prepared.law,
            features=self.whole(features),
            blind=self.blind(features),
            names=tuple(prepared.tape.features.columns),
            lookback=strategy.lookback,
            window=window,
            initial_balance=strategy.costs.initial_balance,
            size_of=prepared.tape.size_of,
            reward=lambda: Judge(reward),
            episode_bars=strategy.env.episode_bars,
            start_balance_range=strategy.env.start_balance_range,
            reward_scale=reward_scale,
        )

    def whole(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features with 0 where a feed is missing: in no window that is ever seen."""
        import numpy as np

        return features if self.prepared.tape.excused is None else np.nan_to_num(features, nan=0.0)

    def blind(self, features: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Return at which bars the window of features is not whole since a feed is missing; None without feeds."""
        from mnqcore.tape.feeds import unseen

        return None if self.prepared.tape.excused is None else unseen(features, self.prepared.strategy.lookback)

    def dates(self, window: Window) -> dict[str, str]:
        """Return a window's first and last bar start, ISO 8601 UTC."""
        times = self.prepared.market.times
        return {"first": times[window.first].isoformat(), "last": times[window.last].isoformat()}


def ground(prepared: Prepared) -> Ground:
    """Return what a learner stands on.

    Raises:
        DataError: a feature never has a value.
        PluginError: one lacks a value in the middle; names the feature set.
    """
    from mnqcore.tape.naming import broken
    from mnqcore.tape.scaler import Hole, first_complete

    try:
        first = first_complete(prepared.tape.features, prepared.tape.excused) + prepared.strategy.lookback - 1
    except Hole as hole:
        choice = prepared.strategy.features[hole.column.partition(".")[0]]
        wrong = f"it has no value ({hole.facts['found']}) at a bar after its first ones"
        raise broken(choice, wrong, hole.facts["next"]).placed(hole.facts["where"]) from hole
    return Ground(prepared=prepared, first=first)
