"""What something was made with: versions of mnq, Python and libraries, and hashes of files."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def versions_here(libraries: Iterable[str]) -> dict[str, str]:
    """Return name -> version of mnq, Python, the machine and these libraries, all of which are installed."""
    found = {"mnq": version("mnq"), "python": platform.python_version(), "machine": platform.machine()}
    return found | {name: version(name) for name in libraries}


def sha256_of_file(path: Path) -> str:
    """Return the sha256 (hex) of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
