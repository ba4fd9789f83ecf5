"""`BacktestEngine` from bars and signals to trades and metrics, against the bare loop in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.timing import Contestant, Times, alternate
from benchmarks.workload import COMMISSION, INITIAL_BALANCE, SLIPPAGE_TICKS, STOP_TICKS, Loop

if TYPE_CHECKING:
    from benchmarks.workload import Workload

_REPEAT, _LOOP_REPEAT = 5, 20


def measure(work: Workload, rounds: int) -> tuple[Times, int]:
    """Time `engine` and `loop`; return the number of trades too.

    Positions are held over the close of a session, as the loop and the peers hold them: all make the same trades.

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
    contestants = {"engine": Contestant(run, repeat=_REPEAT), "loop": Contestant(loop.run, repeat=_LOOP_REPEAT)}
    return alternate(contestants, rounds), trades
