"""Machine code kept on disk, and never stale: its folder is named by the sources it was made from.

numba looks only at the file of the function it compiles, so a kernel would survive an edit of the rules it calls.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba

from mnqcore import rules
from mnqcore.api import values
from mnqcore.tape import records as tape_records

if TYPE_CHECKING:
    from collections.abc import Callable


_MONTH = 30 * 24 * 3600  # seconds

# `_nrt=False`: kernels allocate nothing, and without it numba counts references to every array at every call, with
# atomic instructions that took two thirds of an order's time.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function on first call, keeping the machine code between processes where a folder can be written."""
    folder = _folder()
    if folder is None:
        return numba.njit(**_OPTIONS)(function)
    config: Any = numba.config  # its settings are made at run time, which type checkers cannot see
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    finally:
        config.CACHE_DIR = before


@functools.cache
def source_stamp() -> str:
    """Return the hash of every source that ends up in the machine code."""
    called = [Path(str(module.__file__)) for module in (rules, values, tape_records)]
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *called]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@functools.cache
def _folder() -> Path | None:
    user_cache = Path(os.environ.get("LOCALAPPDATA") or Path.home() / ".cache")
    tag = f"mnq-{source_stamp()}-{sys.implementation.cache_tag}"
    for parent in (Path(__file__).parent / "__pycache__", user_cache / "mnq"):
        try:
            folder = parent / tag
            if not folder.exists():
                _remove_old(parent)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _remove_old(parent: Path) -> None:
    """Remove what was made of other sources and lay idle for a month."""
    for folder in parent.glob("mnq-*-*"):
        if time.time() - folder.stat().st_mtime > _MONTH:
            shutil.rmtree(folder, ignore_errors=True)


def inlined(function: Callable[..., Any]) -> Any:
    """Make a function part of each compiled function that calls it: a call costs as much as a quiet bar."""
    return numba.njit(inline="always", **_OPTIONS)(function)
