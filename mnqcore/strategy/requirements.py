"""`requires = ["mnq>=0.1"]`: what a strategy file asks to be installed."""

from __future__ import annotations

from typing import Any

HINT = 'requires = ["mnq>=0.1"]'
"""How it is written."""


def unmet(text: Any) -> tuple[str, str] | None:
    """Return why a requirement is not met by the installed distributions, and what to do; None if it is met."""
    from packaging.requirements import InvalidRequirement, Requirement

    from mnqcore.strategy.reading import described

    if not isinstance(text, str):
        return f"a requirement must be a string, was {described(text)}", HINT
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return f"not a requirement: {text!r}", HINT
    if wanted.marker and not wanted.marker.evaluate():
        return None
    installed = _installed(wanted.name)
    if installed is None:
        return f"this file requires {text}, which is not installed", f'pip install "{text}"'
    if not wanted.specifier.contains(installed, prereleases=True):
        return f"this file requires {text}; installed is {installed}", f'pip install "{text}"'
    return None


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None
