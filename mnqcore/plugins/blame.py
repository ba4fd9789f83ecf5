"""Where in a plugin's code an error comes from, and its reason in one line."""

from __future__ import annotations

import importlib.util
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType


class Refused(Exception):
    """A plugin broke a rule of the framework; `function` is the one that did, if it was one."""

    def __init__(self, message: str, function: object = None) -> None:
        super().__init__(message)
        self.code: CodeType | None = getattr(function, "__code__", None)


def reason(error: BaseException) -> str:
    """Return the error's type and the first line of its text; a refusal speaks for itself."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    try:
        text = str(error).strip().splitlines()
    except Exception:  # what a plugin raises may not even be able to say what it is
        text = []
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def place(error: BaseException, module: str, file: Path | None = None) -> str:
    """Return `file:line` of the deepest frame in the plugin's own code, "" when the error did not come from there.

    Args:
        error: what the plugin raised.
        module: the module that the plugin names; all of its top-level package is the plugin's own code.
        file: instead of `module`, the one file of a `-p` plugin.
    """
    root, shown_from = (file, file.parent) if file else _root(module)
    if root is None or shown_from is None:
        return ""
    places: list[tuple[str, int | None]] = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    if isinstance(error, Refused) and error.code:
        places.append((error.code.co_filename, error.code.co_firstlineno))
    own = [(Path(name), line) for name, line in places if Path(name).is_relative_to(root)]
    return f"{own[-1][0].relative_to(shown_from).as_posix()}:{own[-1][1]}" if own else ""


def depth(error: BaseException, module: str) -> int:
    """Return how deep in an error's traceback the plugin's own code lies, -1 when the error did not come from there."""
    root, _ = _root(module)
    frames = [Path(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return max((at for at, file in enumerate(frames) if root is not None and file.is_relative_to(root)), default=-1)


def remedy(error: BaseException, module: str) -> str:
    """Return what most likely mends a plugin that did not import: pip for a module that is not its own."""
    missing = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    return f"pip install {missing}" if missing and missing != module.partition(".")[0] else "mend it"


def _root(module: str) -> tuple[Path | None, Path | None]:
    """The file or folder of the module's top-level package, and the folder it is found in."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):  # half-imported, or no name at all
        return None, None
    places = [*(spec.submodule_search_locations or ()), *([spec.origin] if spec.origin else ())] if spec else []
    return (Path(places[0]), Path(places[0]).parent) if places else (None, None)
