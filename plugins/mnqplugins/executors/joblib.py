"""Pieces of work in several processes of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore import MnqError, param, plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_ENVIRONMENT = dict.fromkeys(_THREADS, "1") | {"GOMP_SPINCOUNT": "0"}
"""What a worker must know before it imports numpy or torch: processes share the cores, so each has one thread."""


@plugin
class Joblib:
    """Do pieces of work side by side, in processes of one thread each (loky, the process pool of joblib)."""

    jobs: int | None = param(
        None, ge=1, le=1024, unit="processes", help="at once; as many as there are cores if not given"
    )

    def map(self, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
        """Return the answer to each item, in their order. No process is left behind, whatever happens.

        Raises:
            MnqError: a process died; else what the first item that failed raised, as `serial` would.
        """
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

        jobs = max(min(self.jobs or joblib.cpu_count(), len(items)), 1)
        pool = ProcessPoolExecutor(jobs, env=_ENVIRONMENT, initializer=_leave_ctrl_c)
        try:
            answers = _in_order(pool, unit_of_work, items)
        except BaseException as error:
            pool.shutdown(kill_workers=True)
            if isinstance(error, BrokenProcessPool):
                raise _died(jobs) from error
            raise
        pool.shutdown()
        return answers


def _in_order(pool: Any, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
    futures = [pool.submit(unit_of_work, item) for item in items]
    return [future.result() for future in futures]


def _leave_ctrl_c() -> None:
    """Leave Ctrl-C, which a terminal sends to all processes, to the first one: it ends the workers."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _died(jobs: int) -> MnqError:
    return MnqError(
        "a process ended before its work was done",
        why="most often the machine ran out of memory",
        next=f"set executor.jobs below {jobs}" if jobs > 1 else "set executor.use to 'serial' to see more",
    )
