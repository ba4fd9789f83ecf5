"""Pieces of work on Ray."""

from __future__ import annotations

import os
import random
import socket
from typing import TYPE_CHECKING, Any

from mnqcore import MnqError, param, plugin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATIENCE = 10.0  # seconds until a machine must have answered
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_ENVIRONMENT = dict.fromkeys(_THREADS, "1") | {"GOMP_SPINCOUNT": "0"}
"""What a worker must know before it imports numpy or torch: results must not depend on how many cores there are."""


@plugin
class Ray:
    """Do pieces of work on Ray, each in a process of one thread; Ray is started where none is joined."""

    address: str | None = param(None, help='a running cluster, such as "ray://head:10001"; without it, this machine')
    jobs: int | None = param(
        None, ge=1, le=4096, unit="processes", help="at once, on this machine; as many as there are cores if not given"
    )

    def map(self, unit_of_work: Callable[[str], str], items: Sequence[str]) -> list[str]:
        """Return the answer to each item, in their order. What was started is stopped, whatever happens.

        Raises:
            MnqError: Ray cannot be reached or a worker died; else what the first item that failed raised.
        """
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        drawn = random.getstate()  # Ray names its parts by the generator that all share
        started = not ray.is_initialized()
        futures: list[Any] = []
        try:
            if started:
                self._start(ray)
            task = ray.remote(num_cpus=1, max_retries=0)(unit_of_work)
            futures += [task.remote(item) for item in items]
            return _answers(ray, futures)
        except BaseException:
            for future in () if started else futures:  # the cluster goes on, and so would what has not ended yet
                ray.cancel(future)
            raise
        finally:
            if started:
                ray.shutdown()
            random.setstate(drawn)

    def _start(self, ray: Any) -> None:
        """Join or start Ray, its log and dashboard out of the way."""
        local = {} if self.address else {"num_cpus": self.jobs, "include_dashboard": False}
        try:
            _knock(self.address)
            ray.init(
                address=self.address,
                runtime_env={"env_vars": _ENVIRONMENT},
                log_to_driver=False,
                logging_level="error",
                **local,
            )
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise MnqError(
                "Ray cannot be reached" if self.address else "Ray cannot be started",
                where=self.address or "this machine",
                found=str(error).splitlines()[0],
                next="ray status says how a cluster stands",
            ) from error


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens at "host:port": Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _answers(ray: Any, futures: list[Any]) -> list[str]:
    """Return what each future holds; the first that failed raises its own error."""
    try:
        found: list[str] = [ray.get(future) for future in futures]  # all in one call would raise what fails soonest
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, MnqError) else error from error
    except ray.exceptions.RayError as error:
        raise MnqError("a process of Ray ended before its work was done", found=str(error).splitlines()[0]) from error
    return found
