"""An executor: train folds and seeds side by side, in processes of the standard library.

mnq run examples/one-file/strategies.toml -s pool --stage train,backtest --seeds 3 -p examples/one-file/pool.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import Register, hookimpl, param, plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@plugin
class Pool:
    """Give each piece of work to the next process that is free."""

    processes: int = param(2, ge=1, le=1024, unit="processes", help="at once")

    def map(self, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
        """Return the answer to each item, in their order; a piece of work is a text, and so is its answer."""
        import os
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        # Processes share the cores, so each works with one thread; it must know before it imports torch.
        with ProcessPoolExecutor(
            self.processes,
            mp_context=get_context("spawn"),
            initializer=os.putenv,
            initargs=("OMP_NUM_THREADS", "1"),
        ) as pool:
            return list(pool.map(unit_of_work, items))


@hookimpl
def register_executors(register: Register) -> None:
    """Register the executor."""
    register("pool", Pool)
