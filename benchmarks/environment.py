"""The peers' own environment, made by the first run that needs it: their libraries must not decide mnq's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.workload import Workload

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).with_name("peers-requirements.txt")


class PeersMissingError(Exception):
    """The peers could not be installed or run; the message says why in one line."""


class Peers:
    """The peers at work in their environment: they wait while others take their turn.

    `facts`: name -> version and number of trades.

    Raises:
        PeersMissingError: the environment cannot be made, or a peer failed.
    """

    def __init__(self, work: Workload) -> None:
        python = _python()
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "workload.npz"
        work.write(path)
        self._said = (path.parent / "stderr").open("w+")
        self._process = subprocess.Popen(
            [str(python), "-m", "benchmarks.peers", str(path)],
            cwd=ROOT,
            env={**os.environ, "TQDM_DISABLE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.facts: dict[str, dict[str, Any]] = self._read()

    def one_round(self) -> dict[str, float]:
        """Return name -> CPU seconds of one call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds: dict[str, float] = self._read()
        return seconds

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()
        self._said.close()
        self._folder.cleanup()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._said.seek(0)
        reason = _last_line(self._said.read())
        self.close()
        raise PeersMissingError(f"python -m benchmarks.peers failed: {reason}")


def _python() -> Path:
    """Return the peers' Python; their environment is made if it is not there, or not of these requirements."""
    python = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = FOLDER / "installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making {FOLDER.name} for the peers: about 900 MB, some minutes", file=sys.stderr, flush=True)
        try:
            venv.create(FOLDER, with_pip=True, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise PeersMissingError(f"no environment at {FOLDER}: {error}") from error
        _run([str(python), "-m", "pip", "install", "--quiet", "--requirement", str(REQUIREMENTS)])
        stamp.write_text(wanted)
    return python


def _run(command: list[str]) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise PeersMissingError(f"{' '.join(command[1:4])} failed: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    return (text.strip() or "nothing was said").splitlines()[-1]
