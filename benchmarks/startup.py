"""`mnq --help` as a whole process against Python that does nothing."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import Times

_REPEAT = 5


def measure(rounds: int) -> Times:
    """Time `help` and `python`: CPU of the child process, user and system, interpreter start included.

    Raises:
        FileNotFoundError: mnq is not installed beside this Python.
    """
    folder = str(Path(sys.executable).parent)
    script = shutil.which("mnq", path=folder)
    if script is None:
        raise FileNotFoundError(f"no command mnq in {folder}: pip install -e .")
    commands = {"help": [script, "--help"], "python": [sys.executable, "-c", "pass"]}
    for command in commands.values():
        _seconds(command)
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            samples[name].append(_seconds(command))
    return Times(samples)


def _seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(_REPEAT):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / _REPEAT
