"""What a piece does to the process it runs in, and whether another process gets the same of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnqcore.api.contracts import KINDS
from mnqcore.testing import worker
from mnqcore.testing.answers import answer, differs
from mnqcore.testing.checks.every_kind import as_toml
from mnqcore.testing.verdict import Fault, NotAsked, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnqcore.testing.answers import Answer
    from mnqcore.testing.subject import Subject

_LONGEST = 120.0  # seconds that a process may take
_SLOW = 0.5  # seconds of an import
_TRIES = 3
_ODD = 0x5EED1
_ROUNDING = {"extractor": 1e-4}
"""kind -> what two processes may differ by: threads sum in another order."""
_NEEDED = ("torch", "stable_baselines3", "gymnasium", "sb3_contrib", "scipy", "sklearn", "matplotlib")
"""Libraries that no piece needs while it is only listed or checked."""


@check("import time", *KINDS)
def import_is_quick(subject: Subject) -> Iterator[Fault]:
    """Its module is imported within half a second; numpy and pandas do not count."""
    told = _told(subject)
    seconds = told["seconds"]
    for _ in range(_TRIES - 1):
        if seconds <= _SLOW:
            return
        seconds = min(seconds, _asked(subject, preload=("numpy", *told["heavy"]))["seconds"])
    if seconds > _SLOW:
        yield Fault(
            f"the import takes {seconds:.1f} s", subject.place(), "work is done in methods, not at module level"
        )


@check("light import", *KINDS)
def import_is_light(subject: Subject) -> Iterator[Fault]:
    """Its module imports torch and its like only inside the methods that use them."""
    for name in _told(subject)["heavy"]:
        if name in _NEEDED:
            yield Fault(
                f"the module imports {name}",
                _import_place(subject, name),
                f"move `import {name}` into the method that uses it",
            )


@check("no network on import", *KINDS)
def import_calls_nobody(subject: Subject) -> Iterator[Fault]:
    """Importing its module calls nobody over a network."""
    for call in _told(subject)["network"][:1]:
        yield Fault(f"the import calls over the network: {call}", subject.place(), "call when asked, not when imported")


@check("global random state", *KINDS)
def global_random_state(subject: Subject) -> Iterator[Fault]:
    """It neither uses nor seeds the random generators that all share: numpy.random.*, random.*, torch's."""
    states = _states()
    np.random.seed(_ODD)
    random.seed(_ODD)
    try:
        began = _states()
        _answered(subject, again=True)
        touched = [name for name, now in _states().items() if name in began and not _same(began[name], now)]
    finally:
        _restore(states)
    touched = [name for name in touched if (name, subject.kind) != ("torch", "extractor")]  # weights are drawn from it
    for name in touched:
        yield Fault(
            f"it draws from, or seeds, the generator that all share: {name}",
            subject.place(),
            "numpy.random.default_rng(self.seed), with a parameter `seed`",
        )


@check("deterministic", *KINDS)
def deterministic(subject: Subject) -> Iterator[Fault]:
    """Two fresh instances, asked the same, answer the same."""
    first, second = _answered(subject), answer(subject)
    if off := differs(first, second):
        yield Fault(
            f"asked twice, it answers differently: {off}",
            subject.place(),
            "state that outlives the instance, or a generator without a seed",
        )


@check("worker process", *KINDS)
def works_from_text(subject: Subject) -> Iterator[Fault]:
    """Another process makes it from text alone and gets the same answer."""
    subject.build()
    told = _told(subject)
    if "answer_error" in told:
        yield Fault(f"another process cannot use it: {told['answer_error']}", subject.place())
    elif "answer" in told and (off := differs(_answered(subject), told["answer"], _ROUNDING.get(subject.kind, 1e-9))):
        yield Fault(
            f"another process gets another answer: {off}",
            subject.place(),
            "hash() of a string, the order of a set, or the time differ from process to process",
        )


def _answered(subject: Subject, *, again: bool = False) -> Answer:
    """Return what it answers here, asked once."""
    if again or "answer" not in subject.kept:
        subject.kept["answer"] = answer(subject)
    found: Answer = subject.kept["answer"]
    return found


def _told(subject: Subject) -> dict[str, Any]:
    """Return what a process says of the import, and what it answers; asked once.

    Raises:
        NotAsked: no other process can import the module, or it was tried before and ended badly.
        RuntimeError: the import ends badly there.
    """
    if "told" not in subject.kept:
        subject.kept["told"] = None  # one that hangs is waited for once
        subject.kept["told"] = _asked(subject, answer=not subject.missing)
    if subject.kept["told"] is None:
        raise NotAsked("another process ended badly, as told above")
    kept: dict[str, Any] = subject.kept["told"]
    return kept


def _asked(subject: Subject, preload: tuple[str, ...] = (), *, answer: bool = False) -> dict[str, Any]:
    """Return what a process tells of the piece."""
    module = subject.cls.__module__
    if not subject.registered and (module == "__main__" or "<locals>" in subject.cls.__qualname__):
        raise NotAsked("no other process can import the class: put it into a module")
    params = _params(subject) if answer else None
    text = {
        "kind": subject.kind,
        "use": f"{subject.distribution}:{subject.name}",
        "module": module,
        "qualname": subject.cls.__qualname__,
        "file": _file(subject),
        "registered": subject.registered,
        "files": subject.files,
        "params": as_toml(params or {}),
        "names": list(params or {}),
        "columns": subject.columns,
        "feeds": subject.feeds,
        "preload": preload,
        "answer": params is not None,
    }
    with tempfile.TemporaryDirectory() as folder:
        trouble = _run(json.dumps({**text, "folder": folder}))
        told = _read(Path(folder), trouble, answer=params is not None)
    if "error" in told:
        if not subject.registered and told["missing"] == module.partition(".")[0]:
            raise NotAsked("no other process can import the module of the class")
        raise RuntimeError(f"in another process: {told['error']}")
    return told


def _params(subject: Subject) -> dict[str, Any] | None:
    """Return all parameters, None where it cannot be made: that is another check's business."""
    try:
        return dict(subject.choice.params)
    except NotAsked:
        return None


def _read(folder: Path, trouble: str, *, answer: bool) -> dict[str, Any]:
    """Return what a process has written; `trouble`: how it ended, "" well. `answer`: whether it was asked for one."""
    if not (folder / worker.IMPORT).exists():
        raise RuntimeError(f"another process {trouble or 'told nothing'}")
    told: dict[str, Any] = json.loads((folder / worker.IMPORT).read_text(encoding="utf-8"))
    if (folder / worker.ANSWERED).exists():
        told |= json.loads((folder / worker.ANSWERED).read_text(encoding="utf-8"))
    elif answer and "error" not in told:
        told["answer_error"] = f"it {trouble or 'ended before it had answered'}"
    if "answered" in told:
        with np.load(folder / worker.ARRAYS) as found:
            told["answer"] = [found[name] for name in found.files]
    return told


def _run(text: str) -> str:
    """Run the other process; return how it ended, "" where it ended well."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environ = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "77"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mnqcore.testing.worker"],
            input=text, env=environ, capture_output=True, text=True, timeout=_LONGEST, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"did not end within {_LONGEST:g} s"
    last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
    return f"ended with code {done.returncode}: {last}" if done.returncode else ""


def _file(subject: Subject) -> str:
    """Return the `-p` file that the class comes from, "" for any other."""
    source = getattr(sys.modules.get(subject.cls.__module__), "__file__", None) or ""
    return next((file for file in subject.files if source and Path(file).resolve() == Path(source).resolve()), "")


def _import_place(subject: Subject, name: str) -> str:
    """Return the line of the module that imports a library, where it is that module."""
    path = Path(getattr(sys.modules.get(subject.cls.__module__), "__file__", None) or "")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    at = [number for number, line in enumerate(lines, 1) if line.startswith((f"import {name}", f"from {name}"))]
    return f"{path.name}:{at[0]} {lines[at[0] - 1].strip()}" if at else subject.place()


def _states() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {"numpy.random": np.random.get_state(legacy=True), "random": random.getstate()}
    return found | ({"torch": (torch.get_rng_state(),)} if torch else {})


def _restore(states: dict[str, Any]) -> None:
    np.random.set_state(states["numpy.random"])
    random.setstate(states["random"])
    if "torch" in states:
        sys.modules["torch"].set_rng_state(*states["torch"])


def _same(before: Any, now: Any) -> bool:
    return all(np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(before, now, strict=True))
