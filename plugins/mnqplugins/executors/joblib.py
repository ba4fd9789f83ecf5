"""Pieces of work in several processes of this machine."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mnqcore import MnqError, param, plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_ENVIRONMENT = {"GOMP_SPINCOUNT": "0"}
"""What a worker must know before it imports torch; joblib itself tells it to use one thread."""


@plugin
class Joblib:
    """Do pieces of work side by side, in processes of one thread each (joblib, its `loky` backend)."""

    jobs: int | None = param(
        None, ge=1, le=1024, unit="processes", help="at once; as many as there are cores if not given"
    )

    def map(self, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
        """Return the answer to each item, in their order.

        Raises:
            MnqError: a process died; else whatever the first item that failed raised, as `serial` would.
        """
        import joblib
        from joblib.externals.loky.process_executor import BrokenProcessPool

        jobs = max(min(self.jobs or joblib.cpu_count(), len(items)), 1)
        work = (joblib.delayed(_answer)(unit_of_work, item) for item in items)
        with _environment(), joblib.parallel_config("loky", inner_max_num_threads=1):
            try:
                return [_opened(one) for one in joblib.Parallel(n_jobs=jobs, return_as="generator")(work)]
            except BrokenProcessPool as error:
                raise MnqError(
                    "a process ended before its work was done",
                    why="most often the machine ran out of memory",
                    next=f"set executor.jobs below {jobs}, or executor.use to 'serial'",
                ) from error


def _answer(unit_of_work: Callable[[str], str], item: str) -> str | Exception:
    """Return the answer or what went wrong: an error that is raised would arrive before those of earlier items."""
    import traceback

    try:
        return unit_of_work(item)
    except Exception as error:
        error.add_note(traceback.format_exc())  # the trace itself does not travel
        return error


def _opened(answer: str | Exception) -> str:
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    import os

    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
