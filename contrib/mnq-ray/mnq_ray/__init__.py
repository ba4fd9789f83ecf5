"""Folds and seeds of mnq on Ray."""

from mnqcore import Register, hookimpl


@hookimpl
def register_executors(register: Register) -> None:
    """Register the executor `ray`."""
    register("ray", "mnq_ray.executor:Ray")
