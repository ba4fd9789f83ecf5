"""Imports and asks a piece in a process of its own, from text alone: `python -m mnqcore.testing.worker < TEXT`.

The text is JSON; what came of it is written to files of the folder that it names: `IMPORT` first, then `ANSWERED` and
`ARRAYS`. What the piece prints is nobody's business.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

HEAVY = (
    "gymnasium", "joblib", "matplotlib", "numba", "pandas", "pyarrow", "sb3_contrib", "scipy", "sklearn",
    "stable_baselines3", "talib", "torch",
)  # fmt: skip
"""Libraries whose import is long; a piece imports them where it uses them."""
IMPORT, ANSWERED, ARRAYS = "import.json", "answered.json", "answer.npz"
_CALLS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


def main() -> None:
    """Do as the text on stdin says."""
    asked = json.loads(sys.stdin.read())
    for name in asked["preload"]:
        __import__(name)
    told, folder = _imported(asked), Path(asked["folder"])
    (folder / IMPORT).write_text(json.dumps(told), encoding="utf-8")
    if asked["answer"] and "error" not in told:
        (folder / ANSWERED).write_text(json.dumps(_answered(asked, folder / ARRAYS)), encoding="utf-8")


def _imported(asked: dict[str, Any]) -> dict[str, Any]:
    """Import the module of the class, and see how long it takes, what it loads, and whether it calls anybody."""
    calls: list[str] = []
    listening = [True]

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event in _CALLS:
            calls.append(f"{event} {arguments[-1] if event == 'socket.connect' else arguments[0]}")

    sys.addaudithook(hear)
    before, began = set(sys.modules), time.perf_counter()
    try:
        _import(asked)
    except ModuleNotFoundError as error:
        return {"error": f"{type(error).__name__}: {error}", "missing": error.name}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "missing": None}
    finally:
        listening.clear()
    seconds = time.perf_counter() - began
    heavy = sorted({name.partition(".")[0] for name in set(sys.modules) - before} & set(HEAVY))
    return {"seconds": seconds, "heavy": heavy, "network": calls}


def _import(asked: dict[str, Any]) -> None:
    import importlib

    from mnqcore.plugins import discovery

    if asked["file"]:
        discovery.one_file(asked["file"]).find()
    else:
        importlib.import_module(asked["module"])


def _answered(asked: dict[str, Any], out: Path) -> dict[str, Any]:
    """Make the piece from its parameters as text, ask it, and write what it answers."""
    import attrs
    import numpy as np
    import tomli

    from mnqcore.strategy.reading import read
    from mnqcore.testing.answers import answer
    from mnqcore.testing.verdict import NotAsked

    subject = _subject(asked)
    try:
        made = read(subject.cls, tomli.loads(asked["params"]))
        subject = attrs.evolve(subject, params={name: getattr(made, name) for name in asked["names"]})
        np.savez(out, *answer(subject))
    except NotAsked as reason:
        return {"not_asked": str(reason)}
    except (Exception, SystemExit) as error:
        return {"answer_error": str(error).partition("\n")[0] or type(error).__name__}
    return {"answered": True}


def _subject(asked: dict[str, Any]) -> Any:
    import importlib

    from mnqcore.plugins import load
    from mnqcore.testing.subject import of_class, of_piece

    given = {"columns": tuple(asked["columns"]), "feeds": tuple(asked["feeds"])}
    if asked["registered"]:
        plugins = load(asked["files"])
        return of_piece(plugins.find(asked["kind"], asked["use"]), plugins, **given)
    found: Any = importlib.import_module(asked["module"])
    for part in asked["qualname"].split("."):
        found = getattr(found, part)
    return of_class(asked["kind"], found, **given)


if __name__ == "__main__":
    main()
