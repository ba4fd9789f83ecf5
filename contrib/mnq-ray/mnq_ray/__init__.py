"""Folds and seeds of mnq on Ray."""

from mnqcore import hookimpl


@hookimpl
def register_executors(register):
    """Register the executor `ray`."""
    register("ray", "mnq_ray.executor:Ray")
