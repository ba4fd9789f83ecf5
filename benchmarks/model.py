"""A trained model run over history: encoded in batches and led by the kernel, against `predict` bar by bar."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.kernel import Prepared
from benchmarks.timing import Contestant, Times, alternate
from benchmarks.workload import INITIAL_BALANCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.workload import Workload
    from mnqcore.agent.policy import TradingPolicy
    from mnqcore.agent.runner import Followed

LOOKBACK, FEATURES, HIDDEN = 50, 20, (64, 64)
EXTRACTORS = ("lstm", "gru", "attention")
_SAMPLE = 500
LOOPED = 1_000
"""Bars that `predict` is called on at most: each takes the same time, a whole tape of them would tell no more."""


class Model:
    """An untrained policy on features drawn at random, made to trade now and then."""

    def __init__(self, work: Workload, extractor: str) -> None:
        import torch

        from mnqcore.agent.threads import one_thread
        from mnqcore.api.values import Window

        one_thread()
        torch.manual_seed(7)
        self.prepared = Prepared(work)
        bars = len(work.close)
        self.features = np.random.default_rng(7).normal(size=(bars, FEATURES)).clip(-10, 10).astype(np.float32)
        self.window = Window(first=LOOKBACK - 1, last=bars - 1)
        self.policy = policy_of(extractor)
        make_choosy(self.policy, self.features)

    def backtest(self, kept: Path | None = None) -> Followed:
        """Encode every window, or take what was kept of them, and trade."""
        from mnqcore.agent.latents import latents
        from mnqcore.agent.runner import lead, policy_turn

        found = latents(self.policy, self.features, LOOKBACK, self.window, kept)
        turn = policy_turn(self.policy, found, self.features, LOOKBACK, self.window)
        market = self.prepared.market
        return lead(
            [turn],
            market.tape,
            market.orders,
            self.prepared.law,
            initial_balance=INITIAL_BALANCE,
            size_of=_one_contract,
        )

    def predict(self, bars: int) -> NDArray[np.int8]:
        """Ask `predict` at each close and move the account by one bar; return the actions of the first bars."""
        account = self.prepared.account()
        account.ledger["bar"] = self.window.first
        led, actions = account.ledger[0], np.zeros(bars, np.int8)
        for number in range(bars):
            bar = self.window.first + number
            seen = {
                "market_features": self.features[bar - LOOKBACK + 1 : bar + 1],
                "position_info": np.array(_position(led, bar), np.float32),
            }
            action, _ = self.policy.predict(seen, deterministic=True)
            actions[number] = action
            account.step(actions[number : number + 1], _one_contract)
        return actions


def measure(work: Workload, rounds: int, extractor: str) -> tuple[Times, str]:
    """Time a bar of `backtest`, `again` (on what was kept) and `predict`; return a note too.

    Raises:
        RuntimeError: the actions differ, but for ties.
    """
    model = Model(work, extractor)
    bars = model.window.bars - 1
    looped = min(LOOPED, bars // 10)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder)
        found = model.backtest(kept)
        chosen = found.actions[model.window.first :][:looped]
        differing = int(np.count_nonzero(chosen != model.predict(looped)))
        if differing > found.ties:
            raise RuntimeError(f"{extractor}: {differing} of {looped} actions differ from those of predict")
        times = alternate(
            {
                "backtest": Contestant(lambda _: model.backtest()),
                "again": Contestant(lambda _: model.backtest(kept)),
                "predict": Contestant(lambda _: model.predict(looped)),
            },
            rounds,
        )
    counted = {"backtest": bars, "again": bars, "predict": looped}
    a_bar = Times({name: [one / counted[name] for one in taken] for name, taken in times.samples.items()})
    shares = np.bincount(found.actions[model.window.first : -1], minlength=4) / bars
    note = (
        f"{extractor}: HOLD, BUY, SELL, CLOSE {' '.join(f'{share:.0%}' for share in shares)}; {found.ties} ties, "
        f"{found.unsure} bars decided again; {looped} actions equal those of predict"
    )
    return a_bar, note


def policy_of(extractor: str) -> TradingPolicy:
    """Return an untrained policy with a built-in extractor."""
    from mnqcore.agent.policy import blank
    from mnqcore.api.values import ModelSpec, ObservationSpec

    names = tuple(f"f{number}" for number in range(FEATURES))
    spec = ObservationSpec(lookback=LOOKBACK, n_features=FEATURES, names=names)
    made: TradingPolicy = blank(ModelSpec(observation=spec, extractor=_extractor(extractor)), HIDDEN, "tanh")
    return made


def make_choosy(policy: TradingPolicy, features: NDArray[np.float32]) -> None:
    """Spread the preferences as training would, with HOLD on most bars: an untrained policy likes all alike."""
    import torch

    windows = np.stack([features[at : at + LOOKBACK] for at in range(min(_SAMPLE, len(features) - LOOKBACK))])
    last: Any = policy.action_net
    with torch.no_grad():
        liked = policy.logits(policy.encode(torch.from_numpy(windows)), torch.zeros(len(windows), 4))
        last.weight.div_(liked.std(dim=0)[:, None])
        last.bias.sub_(liked.mean(dim=0)).div_(liked.std(dim=0))
        last.bias[0] += 2.5


def _extractor(name: str) -> Any:
    from mnqplugins.extractors.attention import Attention
    from mnqplugins.extractors.gru import Gru
    from mnqplugins.extractors.lstm import Lstm

    return {"lstm": Lstm, "gru": Gru, "attention": Attention}[name]()


def _position(led: Any, bar: int) -> tuple[float, float, float, float]:
    from mnqcore.simulator.observation import position_info

    position, equity = int(led["position"]), int(led["equity"])
    held = bar - int(led["entry_bar"]) + 1 if position else 0
    return position_info(position, equity - int(led["cash"]), held, equity, int(led["initial"]), LOOKBACK)


def _one_contract(entry: Any) -> NDArray[np.int64]:
    return np.ones(len(entry.side), np.int64)
