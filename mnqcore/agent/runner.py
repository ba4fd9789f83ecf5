"""Trained models traded bar by bar on one account: the fast road for policies, a plain one for any other learner."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from mnqcore.agent.head import GUARD, Head, head
from mnqcore.agent.policy import TradingPolicy
from mnqcore.api.values import Action, Entry
from mnqcore.errors import PluginError
from mnqcore.simulator import Account, following
from mnqcore.simulator.account import entries_at
from mnqcore.simulator.decision import ASKS
from mnqcore.simulator.following import UNSURE
from mnqcore.simulator.kernel import RAN
from mnqcore.simulator.observation import FEATURES
from mnqcore.simulator.records import ASK, TRADE
from mnqcore.tape.naming import at_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mnqcore.api.values import Window

    Floats = NDArray[np.float32]
    Records = NDArray[np.void]
    SizeOf = Callable[[Entry], NDArray[np.int64]]
    Decide = Callable[[int, Floats], int]

_PIECE = 8192  # bars whose first layer is worked out at once
_ASKED = tuple(field.name for field in attrs.fields(Entry) if field.name != "lanes")
_NOTHING = np.zeros((0, 1), np.float32)
_BLIND = Head(
    entry=_NOTHING,
    bias=_NOTHING[:, 0],
    weights=_NOTHING[:, 0],
    widths=np.zeros(0, np.int64),
    rectified=False,
    guard=0.0,
)
"""Leaves every bar to Python."""


@attrs.frozen(kw_only=True, eq=False)
class Turn:
    """A model's turn: the bars it decides on, numbered as those of the whole tape, and how it decides.

    `decide(bar, position)`: the action at the close of a bar, `position` being its float32 (4,) `position_info`. Where
    `head` is given, it is asked only for what that leaves unclear, and `latents` has a row a bar. `begin`: called
    before the turn's first bar.
    """

    window: Window
    lookback: int
    decide: Decide
    begin: Callable[[], None] = lambda: None
    head: Head | None = None
    latents: Floats | None = None

    def base(self, begin: int, end: int) -> Floats:
        """Return the head's first layer without the position's part for bars `begin` to `end` - 1."""
        if self.head is None or self.latents is None:
            return _NOTHING
        return self.head.base(self.latents[begin:end])


@attrs.frozen(kw_only=True, eq=False)
class Followed:
    """What an account came to that models led; numbers of bars count from the first bar of the tape it was given.

    `account`, `equity`: as `simulator.outcome` takes them; equity is micro-units, int64 (1, bars). `actions`: int8
    (bars,), HOLD where nothing was decided. `decided`: bars decided on. `blind`: bars held at since their window was
    not whole. `ties`: those on which two actions were
    preferred alike, within 1e-6. `unsure`: those left to torch since they were not clear. Both are 0 of a turn without
    a head.
    """

    account: Account
    equity: NDArray[np.int64]
    actions: NDArray[np.int8]
    decided: int
    blind: int
    ties: int
    unsure: int


def policy_turn(policy: TradingPolicy, latents: Floats, features: Floats, lookback: int, window: Window) -> Turn:
    """Return the turn of a policy: its actions are those of `policy.predict(deterministic=True)`.

    Args:
        policy: it is put into evaluation mode.
        latents: of `agent.latents.latents`, (bars, latent), known within `window`.
        features: (bars, n_features), scaled for this policy.
        lookback: bars of a window.
        window: the bars it decides on.
    """
    policy.set_training_mode(False)
    layers = head(policy)
    chooser = _Chooser(policy, features, lookback)
    return Turn(
        window=window,
        lookback=lookback,
        decide=chooser.by_window if layers else lambda bar, position: chooser.by_latent(latents, bar, position),
        head=layers,
        latents=latents,
    )


def decider(learner: Any, lookback: int) -> Callable[[Floats, Floats], int]:
    """Return what a learner does with one window, float32 (lookback, n_features), and one position, float32 (4,).

    A policy's action is that of `policy.predict(deterministic=True)`. Raises, when it is asked, PluginError where `act`
    of another learner returns anything but one action.
    """
    policy = getattr(learner, "policy", None)
    if isinstance(policy, TradingPolicy):
        policy.set_training_mode(False)
        return lambda window, position: _Chooser(policy, window, lookback).by_window(lookback - 1, position)

    def act(window: Floats, position: Floats) -> int:
        return _one_action(learner.act({"market_features": window[None], "position_info": position[None]}), learner)

    return act


def learner_turn(learner: Any, features: Floats, lookback: int, window: Window) -> Turn:
    """Return the turn of any learner: its `act` is asked bar by bar; its `reset`, if any, is called before.

    Raises, when it is followed:
        PluginError: `act` returned anything but one action.
    """

    def decide(bar: int, position: Floats) -> int:
        seen = features[bar - lookback + 1 : bar + 1][None]
        return _one_action(learner.act({"market_features": seen, "position_info": position[None]}), learner)

    def begin() -> None:
        if hasattr(learner, "reset"):
            learner.reset(np.ones(1, np.bool_))

    return Turn(window=window, lookback=lookback, decide=decide, begin=begin)


def lead(
    turns: Sequence[Turn],
    tape: Records,
    orders: Records,
    law: Records,
    *,
    initial_balance: float,
    size_of: SizeOf,
    start: int = 0,
    blind: NDArray[np.bool_] | None = None,
) -> Followed:
    """Trade one account through the turns of one or several models, each on the ledger that the one before left.

    Each turn begins at the bar at whose close the one before ends; the last one's end is the account's.

    Args:
        turns: at least one.
        tape: BAR records.
        orders: ORDER records, on the same index.
        law: the RULES record.
        initial_balance: dollars.
        size_of: the sizer.
        start: the bar of the whole tape with which `tape` begins.
        blind: bool, by bar of the whole tape: no model is asked there, it is HOLD; None nowhere.
    """
    for one, other in itertools.pairwise(turns):
        if other.window.first != one.window.last:
            raise ValueError(f"a turn begins at bar {other.window.first}, the one before ended at {one.window.last}")
    first, last = turns[0].window.first - start, turns[-1].window.last - start
    account = Account(tape, orders, law, initial_balance=initial_balance, first=first)
    account.begin(0, first=first, last=last, balance=initial_balance)
    seen = slice(turns[0].window.first, turns[-1].window.last)
    walk = _Walk(account, size_of, start, first, np.zeros(last - first, np.bool_) if blind is None else blind[seen])
    for turn in turns:
        walk.take(turn)
    return walk.end()


class _Walk:
    """An account on its way through the turns; `blind`: from bar `first` on."""

    def __init__(self, account: Account, size_of: SizeOf, start: int, first: int, blind: NDArray[np.bool_]) -> None:
        bars = len(account.tape)
        self.first, self.blind = first, blind
        self.account, self.size_of, self.start = account, size_of, start
        self.actions = np.full(bars, -1, np.int8)
        self.actions[first : first + len(blind)][blind] = Action.HOLD  # decided, so that nobody is asked
        self.equity = np.full(bars, account.ledger["equity"][0], np.int64)
        self.counts = np.zeros(2, np.int64)
        self.seen = np.zeros(FEATURES, np.float32)
        self.asks = np.zeros(1, ASK)
        asked = self.asks.view()
        asked.flags.writeable = False
        self.entry = Entry(lanes=asked["lane"], **{name: asked[name] for name in _ASKED})

    def take(self, turn: Turn) -> None:
        turn.begin()
        head = turn.head or _BLIND
        scratch = np.zeros((3, max((len(Action), *head.widths))), np.float32)
        for begin in range(turn.window.first, turn.window.last, _PIECE):
            end = min(begin + _PIECE, turn.window.last)
            base = turn.base(begin, end)
            self._until(end - self.start, turn, head, base, begin - self.start, scratch)

    def _until(self, until: int, turn: Turn, head: Head, base: Floats, base_bar: int, scratch: Floats) -> None:
        account, led = self.account, self.account.ledger
        while True:
            status = following.follow(
                account.tape,
                account.orders,
                account.law,
                led,
                until,
                turn.lookback,
                base,
                base_bar,
                head.weights,
                head.widths,
                head.rectified,
                head.guard,
                scratch,
                self.seen,
                self.actions,
                account.trades[0],
                account.denied,
                self.equity,
                self.asks,
                self.counts,
            )
            if status == RAN:
                return
            if status == ASKS:
                led["answer"][0] = self._size()
            elif status == UNSURE:
                bar = int(led["bar"][0])
                self.actions[bar] = self._decided(turn, bar)
            else:
                self._make_room()

    def _decided(self, turn: Turn, bar: int) -> int:
        try:
            return turn.decide(bar + self.start, self.seen.copy())
        except Exception as error:
            where = at_bar(bar + self.start, int(self.account.orders["time"][bar]))
            if isinstance(error, PluginError):
                raise error.placed(where) from error
            error.add_note(where)
            raise

    def _size(self) -> int:
        try:
            size = int(self.size_of(self.entry)[0])
        except PluginError as error:
            raise error.placed(entries_at(self.asks, self.account.orders, 1, self.start)) from error
        if size < 0:  # it would be asked again, for ever
            raise ValueError(f"a size is below 0: {size}")
        return size

    def _make_room(self) -> None:
        trades = self.account.trades[0]
        grown = np.zeros(max(1024, 2 * len(trades)), TRADE)
        grown[: len(trades)] = trades
        self.account.trades[0] = grown

    def end(self) -> Followed:
        account, led = self.account, self.account.ledger[0]
        account.trades[0] = account.trades[0][: led["trades"]]
        self.equity[led["bar"] :] = led["equity"]
        reached = int(led["bar"]) - self.first
        blind = int(np.count_nonzero(self.blind[:reached]))
        decided = np.count_nonzero(self.actions[self.first : self.first + reached] >= 0) - blind
        return Followed(
            account=account,
            equity=self.equity[None],
            actions=np.maximum(self.actions, np.int8(Action.HOLD)),
            decided=int(decided),
            blind=blind,
            ties=int(self.counts[0]),
            unsure=int(self.counts[1]),
        )


@attrs.frozen
class _Chooser:
    """A policy asked for one bar, through torch."""

    policy: TradingPolicy
    features: Floats
    lookback: int

    def by_window(self, bar: int, position: Floats) -> int:
        """Return what `policy.predict` would."""
        with torch.inference_mode():
            latent = self.policy.encode(self._tensor(self.features[bar - self.lookback + 1 : bar + 1]))
            return self._mode(self._logits(latent, position))

    def by_latent(self, latents: Floats, bar: int, position: Floats) -> int:
        """Return the same, from the latent where it is clear."""
        with torch.inference_mode():
            logits = self._logits(self._tensor(latents[bar]), position)
            best, second = torch.topk(logits[0], 2).values.tolist()
            return self._mode(logits) if best - second >= GUARD * max(1.0, abs(best)) else self.by_window(bar, position)

    def _tensor(self, rows: Floats) -> torch.Tensor:
        return torch.tensor(rows[None], device=self.policy.device)

    def _logits(self, latent: torch.Tensor, position: Floats) -> torch.Tensor:
        return self.policy.logits(latent, self._tensor(position))

    def _mode(self, logits: torch.Tensor) -> int:
        """Return the mode of the distribution, with the roundings of torch's Categorical: they decide between ties."""
        shares = torch.softmax(logits - logits.logsumexp(dim=1, keepdim=True), dim=1)
        return int(shares.argmax(dim=1)[0])


def _one_action(given: Any, learner: Any) -> int:
    found = np.asarray(given)
    if found.shape != (1,) or found.dtype.kind not in "iu" or not 0 <= found[0] <= max(Action):
        wrong = f"{found.tolist()}" if found.size < 4 else f"shape {found.shape}"
        raise PluginError(
            f"act of an agent broke its contract: it returned {wrong} for one window",
            who=f"{type(learner).__module__}.{type(learner).__qualname__}",
            next="return one int64 a row: 0 HOLD, 1 BUY, 2 SELL or 3 CLOSE",
        )
    return int(found[0])
