"""The tests of mnq; a package so that mypy knows them as `tests.*`."""
