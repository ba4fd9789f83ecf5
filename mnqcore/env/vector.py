"""`TradingVecEnv`: many accounts at once, as stable-baselines3 wants them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from mnqcore.env.accounts import FRESH, Accounts
from mnqcore.env.spaces import action_space
from mnqcore.env.windows import Windows
from mnqcore.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnqcore.env.arena import Arena

    Observation = dict[str, NDArray[Any]]
    Stepped = tuple[Observation, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]

_FRESH = np.array(FRESH, np.float32)


class TradingVecEnv(VecEnv):
    """Accounts that trade side by side on the same bars, each in episodes of its own; made for stable-baselines3.

    Every step returns arrays of its own. An account whose episode is over begins the next one in the same step: the
    observation returned is the new episode's first, and the account's info holds `terminal_observation`,
    `TimeLimit.truncated` (the bars ended, not the account) and `episode`: `r` the sum of its rewards, `l` its steps,
    `t` seconds since this was made. All other infos are empty.

    Account i draws from `numpy.random.default_rng(seed + i)`, as `TradingEnv.reset(seed=seed + i)` does, and goes
    through the same episodes step by step.

    Args:
        arena: the bars, the rules, the reward.
        lanes: how many accounts.
        observe: "bar", the number of the bar, for a policy that has the features; or "window", the features.
        seed: of the first account.

    Raises:
        UsageError: no account, or no such way to observe.
        DataError: there are too many bars to be told apart by number.
    """

    render_mode: str | None = None

    def __init__(self, arena: Arena, lanes: int, *, observe: str = "bar", seed: int = 0) -> None:
        if lanes < 1:
            raise UsageError("an environment has one account or more", found=str(lanes))
        super().__init__(lanes, arena.space(observe), action_space())
        self.arena = arena
        self._accounts = Accounts(arena, [np.random.default_rng(seed + lane) for lane in range(lanes)])
        self._windows = Windows(arena) if observe == "window" else None
        self._actions: Any = None
        self._empty: list[dict[str, Any]] = [{} for _ in range(lanes)]
        self._began = time.time()

    def reset(self) -> Observation:
        """Let every account begin an episode, and return its first observation."""
        for lane, seed in enumerate(self._seeds):
            if seed is not None:
                self._accounts.draws[lane] = np.random.default_rng(seed)
        self._accounts.begin(np.ones(self.num_envs, np.bool_), dict(enumerate(self._options)))
        self._reset_seeds()
        self._reset_options()
        bars = self._accounts.starts.astype(np.int32)[:, None]
        return self._seen(bars, np.tile(_FRESH, (self.num_envs, 1)))

    def step(self, actions: NDArray[Any]) -> Stepped:
        """Move every account one bar by an action each, (n,); returns and raises as `step_wait`."""
        self._actions = actions
        return self.step_wait()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Note what the accounts are to do; (n,), numbers of Action."""
        self._actions = actions

    def step_wait(self) -> Stepped:
        """Move every account one bar; return observations, rewards float32, dones bool, and infos.

        Raises:
            PluginError: the reward or the sizer broke its contract.
        """
        bars, positions, rewards, done, over = self._accounts.step(self._actions)
        # Empty infos are the same ones each time, until someone writes in one: making many takes half of a step's time.
        if any(self._empty):
            self._empty = [{} for _ in self._empty]
        infos = self._empty.copy()
        if over:
            self._turn_over(bars, positions, done, infos)
        return self._seen(bars, positions), rewards, done, infos

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute once for each account; they share all of them."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of all accounts; they share all of them."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Refuse with AttributeError: accounts are rows of arrays and have no methods of their own."""
        raise AttributeError(f"an account of a TradingVecEnv has no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """Return False for each account: none is an environment of its own."""
        return [False for _ in self._get_indices(indices)]

    def _seen(self, bars: NDArray[np.int32], positions: NDArray[np.float32]) -> Observation:
        if self._windows is None:
            return {"bar": bars, "position_info": positions}
        return {"market_features": self._windows.at(bars[:, 0]), "position_info": positions}

    def _turn_over(
        self, bars: NDArray[np.int32], positions: NDArray[np.float32], done: NDArray[np.bool_],
        infos: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        """Tell how episodes ended, and put the first observation of the next ones in the place of their last."""
        accounts, seconds = self._accounts, round(time.time() - self._began, 6)
        over = done.nonzero()[0].tolist()
        for lane in over:
            bar = bars.item(lane)
            infos[lane] = {
                "terminal_observation": self._last_seen(bar, positions[lane].copy()),
                "TimeLimit.truncated": not accounts.account.ledger[lane]["ended"],
                "episode": {
                    "r": accounts.paid.item(lane),
                    "l": bar - accounts.starts.item(lane),
                    "t": seconds,
                },
            }
        accounts.begin(done)
        for lane in over:
            bars[lane], positions[lane] = accounts.starts[lane], _FRESH

    def _last_seen(self, bar: int, position: NDArray[np.float32]) -> Observation:
        if self._windows is None:
            return {"bar": np.array((bar,), np.int32), "position_info": position}
        return {"market_features": self._windows.one(bar), "position_info": position}
