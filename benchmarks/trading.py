"""A session on the simulated broker, a venue in a process of its own: how long a bar takes, and how many a second."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from benchmarks.model import FEATURES, LOOKBACK, make_choosy, policy_of

if TYPE_CHECKING:
    from mnqcore.api.port import BracketOrder
    from mnqcore.strategy.model import Strategy

_SESSION = f"""
format = 1
[strategy.timed]
lookback = {LOOKBACK}
data = {{ use = "synthetic", market = "no-edge", days = DAYS }}
agent = {{ use = "sma-cross", fast = 10, slow = 30 }}
trade.limits.orders_per_day = 5_000
FEATURES
"""
_TECHNICAL = 'features.ta = { use = "technical" }'
_A_DAY = 276


@attrs.define
class Taken:
    """Wall seconds.

    `orders`: from a bar's arrival to its order on its way, what plugins took left out. `journal`: the share of them
    that went into the journal. `rows`: what the plugins took at each bar.
    """

    orders: list[float] = attrs.field(factory=list)
    journal: list[float] = attrs.field(factory=list)
    rows: list[float] = attrs.field(factory=list)
    bars: int = 0
    seconds: float = 0.0

    def quantile(self, share: float) -> float:
        """Return how long an order took at most, of this share of them, seconds."""
        return float(np.quantile(self.orders, share))


class _Stopwatch:
    """Stands between a session and its parts, and takes the time."""

    def __init__(self, session: Any, taken: Taken) -> None:
        self.taken, self.began, self.away, self.written = taken, 0.0, 0.0, 0.0
        self.judge, self.row = session.feed.judge, session.rows.row
        self.submit, self.write = session.broker.submit, session.desk.memory.journal.write
        session.feed = _Passing(session.feed, judge=self._judge)
        session.rows = _Passing(session.rows, row=self._row)
        session.broker = _Passing(session.broker, submit=self._submit)
        session.desk.memory.journal.write = self._write

    def _judge(self, *arguments: Any) -> Any:
        self.began, self.away, self.written = time.perf_counter(), 0.0, 0.0
        return self.judge(*arguments)

    def _row(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        found = self.row(*arguments)
        self.away = time.perf_counter() - began
        self.taken.rows.append(self.away)
        self.taken.bars += 1
        return found

    def _write(self, *entries: Any, now: int) -> Any:
        began = time.perf_counter()
        found = self.write(*entries, now=now)
        self.written += time.perf_counter() - began
        return found

    async def _submit(self, bracket: BracketOrder) -> None:
        took = time.perf_counter() - self.began - self.away
        self.taken.orders.append(took)
        self.taken.journal.append(self.written / took)
        await self.submit(bracket)


class _Passing:
    """Something of which one method is timed."""

    def __init__(self, inner: Any, **timed: Any) -> None:
        self.__dict__ |= {"_inner": inner, **timed}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def replayed(bars: int) -> Taken:
    """Replay so many bars at full speed by a rule, the journal on."""
    return _taken(bars, "replay", "", lstm=False)


def with_model(bars: int) -> Taken:
    """Replay so many bars with an LSTM of windows of 50 bars of 20 features that decides on each."""
    return _taken(
        bars, "replay", f"features.f = {{ use = 'returns', horizons = {[*range(1, FEATURES - 1)]} }}", lstm=True
    )


def live(bars: int) -> Taken:
    """Trade so many bars as they come, with `technical` computed at each from its trading day's anchor on."""
    return _taken(bars, "paper", _TECHNICAL, lstm=False)


def _taken(bars: int, mode: str, features: str, *, lstm: bool) -> Taken:
    from mnqcore.plugins import load as load_plugins
    from mnqcore.strategy import load

    days = bars // _A_DAY + (8 if mode == "paper" else 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "timed.toml"
        file.write_text(_SESSION.replace("DAYS", str(days)).replace("FEATURES", features))
        overrides = ['trade.broker.start="2024-01-10"'] if mode == "paper" else []
        strategy = load(file, None, load_plugins(), overrides)
        return asyncio.run(_session(strategy, folder, mode, lstm))


async def _session(strategy: Strategy, folder: Path, mode: str, lstm: bool) -> Taken:
    from mnqcore.stages.prepare import prepare
    from mnqcore.trading.assemble import Brain, Setup, assemble, open_journal
    from mnqcore.trading.session import Watcher

    tape = prepare(strategy, look=False).tape if mode == "replay" else None
    setup = Setup(
        strategy=strategy,
        mode=mode,
        account="SIM",
        folder=folder,
        plugins=[],
        brain=_brain(tape, strategy) if lstm else Brain(),
        tape=tape,
        versions={},
    )
    setup.file.write_text(strategy.to_toml())
    taken, journal = Taken(), open_journal(setup)
    session = await assemble(setup, journal, Watcher())
    _Stopwatch(session, taken)
    began = time.perf_counter()
    await session.run()
    taken.seconds = time.perf_counter() - began
    await session.broker.finish()  # type: ignore[attr-defined]
    journal.close()
    return taken


def _brain(tape: Any, strategy: Strategy) -> Any:
    """Return an untrained LSTM that trades now and then."""
    import torch

    from mnqcore.agent.runner import decider
    from mnqcore.agent.threads import one_thread
    from mnqcore.tape.scaler import Scaler
    from mnqcore.trading.assemble import Brain

    one_thread()
    torch.manual_seed(7)
    policy, scaler = policy_of("lstm"), Scaler.fit(tape.features, slice(0, len(tape.features)))
    make_choosy(policy, scaler(tape.features)[FEATURES + 1 :])
    learner = type("Untrained", (), {"policy": policy})()
    return Brain(scaler=scaler, decide=decider(learner, strategy.lookback))
