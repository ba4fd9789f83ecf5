"""Where accounts learn: the bars of one window with their features, the rules, and how a step is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from mnqcore.api.values import ObservationSpec
from mnqcore.env.spaces import MOST_BARS, bar_space, window_space
from mnqcore.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gymnasium import spaces
    from numpy.typing import NDArray

    from mnqcore.api.values import Entry, Step, Window

    Records = NDArray[np.void]
    Reward = Callable[[Step], NDArray[np.float64]]

OBSERVATIONS = ("bar", "window")
"""What `observe` may be: the number of the bar, for who has the features; or the window of features itself."""


@attrs.frozen(kw_only=True, eq=False)
class Arena:
    """All that environments need, checked once and shared by them; nothing in it may be changed.

    `tape`, `orders`, `law`: BAR, ORDER (bars,) and RULES (1,) records, the signals of plugins filled in. `features`:
    float32 (bars, n), scaled, called `names`; an observation is the last `lookback` of them. Episodes lie in `window`.
    `size_of`: answers an Entry with contracts, whole and at least 0. `reward`: makes a fresh judge of steps; where it
    has `reset(lanes)`, that is called before the first step of each episode. A judge may have `refuse(rewards, step)`,
    which returns the error to raise where its rewards are not one finite number an account.

    `blind`: bool (bars,), where nobody sees the features, and so whatever is chosen counts as HOLD; None nowhere.

    An episode begins at a random bar with a balance of `initial_balance` dollars times a random number within
    `start_balance_range`; it takes at most `episode_bars` decisions. What is paid is the reward over `reward_scale`.

    Raises:
        DataError: a feature in the window is missing, or the window has no place on the bars.
    """

    tape: Records
    orders: Records
    law: Records
    features: NDArray[np.float32]
    names: tuple[str, ...]
    lookback: int
    window: Window
    initial_balance: float
    size_of: Callable[[Entry], NDArray[np.int64]]
    reward: Callable[[], Reward]
    episode_bars: int | None = None
    start_balance_range: tuple[float, float] = (1.0, 1.0)
    reward_scale: float = 1.0
    blind: NDArray[np.bool_] | None = None

    def __attrs_post_init__(self) -> None:
        bars, first, last = len(self.tape), self.window.first, self.window.last
        if not self.lookback - 1 <= first < last < bars:
            raise DataError(
                "the bars of a training do not hold an episode",
                found=f"bars {first} to {last} of {bars}, windows of {self.lookback}",
                next="two bars or more, after those of the first window",
            )
        if self.features.shape != (bars, len(self.names)) or self.features.dtype != np.float32:
            raise TypeError(f"features are {self.features.dtype} {self.features.shape}, not float32 of {bars} bars")
        known = np.isfinite(self.features[first - self.lookback + 1 : last + 1])
        if not known.all():
            bar, column = np.argwhere(~known)[0].tolist()
            raise DataError(
                "a feature has no value in the bars of a training",
                where=f"{self.names[column]} of bar {first - self.lookback + 1 + bar}",
                next="begin later, or mend the feature",
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Arena:
        return self  # gymnasium copies what an environment is made of; nothing here changes, and it can be large

    @property
    def spec(self) -> ObservationSpec:
        """The shape of an observation's window."""
        return ObservationSpec(lookback=self.lookback, n_features=len(self.names), names=self.names)

    @property
    def last_start(self) -> int:
        """The last bar at which an episode begins: late enough that each bar is reached, early enough to be whole."""
        first, last = self.window.first, self.window.last
        return last - 1 if self.episode_bars is None else max(first, last - self.episode_bars)

    def end(self, start: int) -> int:
        """Return the bar at whose close an episode is cut off that began at `start`."""
        last = self.window.last
        return last if self.episode_bars is None else min(start + self.episode_bars, last)

    def space(self, observe: str) -> spaces.Dict:
        """Return the space of observations.

        Raises:
            UsageError: `observe` is neither "bar" nor "window".
            DataError: there are more bars than stable-baselines3 can tell apart.
        """
        if observe not in OBSERVATIONS:
            raise UsageError(f"an environment cannot observe {observe!r}", next=" or ".join(OBSERVATIONS))
        if observe == "window":
            return window_space(self.spec)
        if len(self.tape) > MOST_BARS:
            raise DataError(
                "too many bars to be told apart by their number", found=f"{len(self.tape):,} of {MOST_BARS:,}"
            )
        return bar_space(len(self.tape))
