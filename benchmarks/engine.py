"""`BacktestEngine` from bars and signals to trades and metrics, by turns with the bare loop and with the peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import accounts
from benchmarks.timing import LOOP_HERE, Contestant, Times, collect, one_round
from benchmarks.workload import COMMISSION, INITIAL_BALANCE, SLIPPAGE_TICKS, STOP_TICKS, Loop

if TYPE_CHECKING:
    from benchmarks.environment import Peers
    from benchmarks.workload import Workload

_REPEAT, _LOOP_REPEAT = 5, 20


def measure(work: Workload, rounds: int, peers: Peers | None) -> Times:
    """Time `engine`, `environment` and LOOP_HERE, and in the same rounds the peers and LOOP_THERE.

    Positions are held over the close of a session, as the loop and the peers hold them.

    Raises:
        RuntimeError: the engine's trades are not the loop's.
    """
    from mnqcore import BacktestEngine
    from mnqcore.strategy.settings import Session

    frame, session, loop = work.frame(), Session(flat_by_close=False), Loop(work)

    def run(_state: object) -> int:
        engine = BacktestEngine(
            frame,
            INITIAL_BALANCE,
            COMMISSION,
            slippage_ticks=SLIPPAGE_TICKS,
            stop_loss_ticks=STOP_TICKS,
            session=session,
        )
        return len(engine.run(work.signals).trades)

    trades = run(None)
    if trades != len(loop.run()):
        raise RuntimeError(f"the engine made {trades} trades, the loop {len(loop.run())}")
    contestants = {"engine": Contestant(run, repeat=_REPEAT), LOOP_HERE: Contestant(loop.run, repeat=_LOOP_REPEAT)}
    contestants["environment"] = Contestant(accounts.single(work))
    return collect(lambda: one_round(contestants) | (peers.one_round() if peers else {}), rounds)
