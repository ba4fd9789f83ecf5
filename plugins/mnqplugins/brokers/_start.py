"""Finds the venue of a folder, or starts one that outlives this process."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnqcore import BrokerError
from mnqplugins.brokers import _wire

if TYPE_CHECKING:
    from mnqcore import port

_PATIENCE = 120.0  # seconds until a venue listens: reading bars may take long
_started: list[subprocess.Popen[bytes]] = []
"""Venues that this process has started: they are left to themselves, but their end must be taken note of."""


@atexit.register
def _let_go() -> None:
    """Leave the venues that still run to themselves, or each would be complained of."""
    for process in _started:
        if process.poll() is None:
            process.returncode = 0


def folder_of(login: port.Login) -> Path:
    """Return the venue's folder, made for its owner alone."""
    folder = Path(login.folder) / "venue"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def find(folder: Path) -> dict[str, Any] | None:
    """Return what the port file says, None where there is none."""
    try:
        found: dict[str, Any] = json.loads((folder / _wire.PORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def digest(login: port.Login, settings: dict[str, Any]) -> str:
    """Return a hash of what a venue is started with; a file that is gone keeps nobody from a venue that runs."""
    try:
        text = Path(login.file).read_bytes()
    except OSError:
        text = b""
    said = json.dumps([login.account, login.plugins, settings], sort_keys=True).encode()
    return hashlib.sha256(text + said).hexdigest()


async def start(login: port.Login, settings: dict[str, Any]) -> dict[str, Any]:
    """Start a venue and return what its port file says; BrokerError where it does not come up."""
    _started[:] = [process for process in _started if process.poll() is None]
    folder = folder_of(login)
    (folder / _wire.PORT_FILE).unlink(missing_ok=True)
    token = secrets.token_hex(32)
    _write(folder / "setup.json", _setup(login, settings, token))
    process = _spawn(folder)
    _started.append(process)
    for _ in range(int(_PATIENCE / 0.02)):
        found = find(folder)
        if found is not None and found["token"] == token:
            return found
        if process.poll() is not None:
            raise _failed(folder)
        await asyncio.sleep(0.02)
    process.kill()
    raise _failed(folder)


def _setup(login: port.Login, settings: dict[str, Any], token: str) -> dict[str, Any]:
    return {
        "file": str(Path(login.file).absolute()),
        "plugins": [_absolute(each) for each in login.plugins],
        "account": login.account,
        "token": token,
        "digest": digest(login, settings),
        **settings,
    }


def _absolute(plugin: str) -> str:
    return plugin if plugin.startswith("no:") else str(Path(plugin).absolute())


def _write(path: Path, content: dict[str, Any]) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def _spawn(folder: Path) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own: neither Ctrl-C nor the end of a terminal reaches it."""
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    command = [sys.executable, "-m", "mnqplugins.brokers._server", str(folder.absolute())]
    descriptor = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, **apart)
    finally:
        os.close(descriptor)


def _failed(folder: Path) -> BrokerError:
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return BrokerError(
        "the simulated venue did not start",
        where=str(folder / "log.txt"),
        found=lines[-1] if lines else "nothing in its log",
        next="check the strategy: mnq check FILE",
    )
