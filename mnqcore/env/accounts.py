"""The accounts of an environment: many at once, each in an episode of its own, moved by the compiled kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.api.values import Action
from mnqcore.errors import PluginError, UsageError
from mnqcore.simulator import Account
from mnqcore.simulator.addresses import by_address
from mnqcore.simulator.episode import COUNTS, MONEY, settle
from mnqcore.simulator.observation import FEATURES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnqcore.env.arena import Arena

    Moved = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], int]

FRESH = (0.0, 0.0, 0.0, 1.0)
"""The position as it is seen when an episode begins: flat, all of the balance there."""
_OPTIONS = ("start", "balance")


class Accounts:
    """n accounts in an arena; each takes one episode after the other, and none begins unless it is told to.

    Account i draws its episodes from `draws[i]`: first the bar, then the balance. So one account of many goes through
    the same episodes as an environment of its own with that generator.

    `starts`: int64 (n,), the bar at which each episode began. `paid`: float64 (n,), what it has been paid so far.
    `counts` int64 (6,) and `money` float64 (2,): what is told of account 0's last step, see `simulator.episode`.

    Args:
        arena: the bars and the rules.
        draws: a generator of random numbers an account; entries may be replaced.
    """

    def __init__(self, arena: Arena, draws: list[np.random.Generator]) -> None:
        n = len(draws)
        self.arena = arena
        self.draws = draws
        self.account = Account(
            arena.tape, arena.orders, arena.law, initial_balance=arena.initial_balance, lanes=n,
            first=arena.window.first,
        )  # fmt: skip
        self.reward: Any = arena.reward()
        self.starts, self.paid = np.zeros(n, np.int64), np.zeros(n)
        self.counts, self.money = np.zeros(len(COUNTS), np.int64), np.zeros(len(MONEY))
        self._count, self._shape = n, (n,)
        self._rewards = np.zeros(n)
        self._bind()

    def begin(self, lanes: NDArray[np.bool_], options: Mapping[int, Mapping[str, Any]] | None = None) -> None:
        """Let accounts begin an episode, flat, and the reward forget what it knew of them.

        Args:
            lanes: bool (n,), those that begin.
            options: account -> `start` and `balance`, where they are not those drawn.

        Raises:
            UsageError: an option is not known, or out of its range.
        """
        arena, (low, high) = self.arena, self.arena.start_balance_range
        first, beyond = arena.window.first, arena.last_start + 1
        for lane in lanes.nonzero()[0].tolist():
            draw = self.draws[lane]
            start = int(draw.integers(first, beyond))
            balance = arena.initial_balance * (low + (high - low) * draw.random())
            if options and options.get(lane):
                start, balance = _chosen(arena, options[lane], start, balance)
            self.account.begin(lane, first=start, last=arena.end(start), balance=balance)
            self.starts[lane], self.paid[lane] = start, 0.0
        if hasattr(self.reward, "reset"):
            self.reward.reset(lanes)

    def step(self, actions: Any) -> Moved:
        """Move every account one bar and return what came of it, in arrays that nothing changes later.

        Args:
            actions: (n,), numbers of Action.

        Returns:
            The bars that closed, int32 (n, 1); positions as they are seen, float32 (n, 4); rewards, float32 (n,);
            whether the episode is over, bool (n,); how many are.

        Raises:
            PluginError: the rewards are not one finite number an account.
            UsageError: the actions are not one Action an account.
        """
        n = self._count
        bars, positions = np.empty((n, 1), np.int32), np.empty((n, FEATURES), np.float32)
        paid, done = np.empty(n, np.float32), np.empty(n, np.bool_)
        wanted = np.ascontiguousarray(actions, np.int64)
        if wanted.shape != self._shape:
            raise _no_actions(actions, n)
        return bars, positions, paid, done, self.move(wanted, bars, positions, paid, done)

    def move(
        self, actions: NDArray[np.int64], bars: NDArray[np.int32], positions: NDArray[np.float32],
        paid: NDArray[np.float32], done: NDArray[np.bool_],
    ) -> int:  # fmt: skip
        """Move every account one bar, write what `step` returns, and return how many episodes ended."""
        account, blind = self.account, self.arena.blind
        if blind is not None:
            unseen = blind[account.ledger["bar"]] & (actions >= 0) & (actions <= Action.CLOSE)
            actions = np.where(unseen, np.int64(Action.HOLD), actions)
        try:
            account.move(actions, self.arena.size_of)
        except ValueError as error:
            if ((actions < 0) | (actions > Action.CLOSE)).any():
                raise _no_actions(actions, self._count) from error
            raise
        rewards = self.reward(account.seen)
        if getattr(rewards, "shape", None) != self._shape:
            raise self._refused(rewards)
        self._rewards[:] = rewards
        over: int = settle(*self._settings, bars, positions, paid, done)
        if over < 0:
            raise self._refused(rewards)
        return over

    def _bind(self) -> None:
        account = self.account
        world = by_address(account.ledger, self._rewards, self.paid, account.steps, self.counts, self.money)
        self._settings = world, float(self.arena.reward_scale), int(self.arena.lookback)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_settings"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind()

    def _refused(self, rewards: Any) -> Exception:
        """Return the error of rewards that break the contract, named after the plugin where it is known."""
        wrong_shape = getattr(rewards, "shape", None) != self._shape
        if hasattr(self.reward, "refuse") and (wrong_shape or not np.isfinite(rewards).all()):
            error: Exception = self.reward.refuse(rewards, self.account.seen)
            return error
        return PluginError(
            "a reward is not one finite number an account",
            where=f"bar {int(self.account.seen.bar[0])}",
            found=f"{rewards}, to be divided by {self.arena.reward_scale:g}"[:60],
            next=f"return float64 of shape ({self._count},)",
        )


def _chosen(arena: Arena, options: Mapping[str, Any], start: int, balance: float) -> tuple[int, float]:
    """Return start and balance, each as the options say or else as it is."""
    if unknown := [name for name in options if name not in _OPTIONS]:
        raise UsageError(f"an episode has no option {unknown[0]!r}", next=", ".join(_OPTIONS))
    start, balance = options.get("start", start), options.get("balance", balance)
    first, last = arena.window.first, arena.window.last - 1
    if not first <= start <= last:
        raise UsageError("an episode cannot start there", found=f"bar {start}", next=f"choose from {first} to {last}")
    if not 0 < balance < 1e9:
        raise UsageError("an episode cannot start with that balance", found=f"{balance} dollars")
    return int(start), float(balance)


def _no_actions(actions: Any, count: int) -> UsageError:
    return UsageError(
        "an action is not 0 HOLD, 1 BUY, 2 SELL or 3 CLOSE, one an account",
        found=f"{np.asarray(actions).tolist()}"[:60],
        next=f"give {count} whole numbers",
    )
