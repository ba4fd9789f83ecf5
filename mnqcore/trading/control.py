"""What a person says to a running session from another terminal, through files in its folder.

    control/ID.command.json   written by `mnq trade`
    control/ID.taken.json     the same file, once the session has taken it: it is done once, or never
    control/ID.answer.json    what came of it
    control/HALT              whatever it holds: as long as it is there the session opens nothing

Files come to their names in one stroke. A command that is not taken within a minute is refused.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError
from mnqcore.trading.world import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER, HALT = "control", "HALT"
COMMANDS = ("look", "halt", "resume", "flatten", "adopt", "disown")
"""`look` compares journal and broker; the others are those of `mnq trade`."""
OLDEST = 60
"""Seconds after which a command is refused."""
OURS = "written by mnq trade halt\n"
"""What a HALT file holds that `mnq trade resume` may remove."""
_COMMAND, _TAKEN, _ANSWER = ".command.json", ".taken.json", ".answer.json"
_LONGEST = 65_536
_KEPT = 3_600  # seconds that answers nobody has read are kept


@attrs.frozen(kw_only=True)
class Command:
    """A person's word. `time`: of the machine's clock, UTC ns. `by`: who said it."""

    id: str
    command: str
    args: dict[str, Any] = attrs.field(factory=dict)
    time: int = 0
    by: str = ""

    @property
    def complaint(self) -> str:
        """Why it is not done, or nothing."""
        if self.command not in COMMANDS:
            return f"there is no command {self.command!r}"
        age = (time.time_ns() - self.time) / SECOND
        if abs(age) > OLDEST:
            return f"it is {age:.0f} s old: say it again" if age > 0 else "it is of the future: look at the clock"
        return ""


@attrs.frozen(kw_only=True)
class Answer:
    """What came of a command. `text`: for a person. `found`: for programs."""

    ok: bool
    text: str
    found: dict[str, Any] = attrs.field(factory=dict)


def folder_of(session: Path) -> Path:
    """Return the folder of commands, made for its owner alone."""
    folder = session / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


# The session's side.


class Inbox:
    """Commands as they come to a session."""

    def __init__(self, session: Path) -> None:
        self._folder = folder_of(session)
        for path in self._folder.glob(f"*{_TAKEN}"):  # of a process that has ended
            name = path.name.removesuffix(_TAKEN)
            if not (self._folder / f"{name}{_ANSWER}").exists():
                self._put(name, Answer(ok=False, text="the session ended before it answered: it may have been done"))
            path.unlink(missing_ok=True)
        self._sweep()

    @property
    def halt(self) -> bool:
        """Whether the file is there that halts."""
        return os.path.lexists(self._folder / HALT)

    def take(self) -> Iterator[Command]:
        """Yield the commands that have come, oldest first; what cannot or may not be done is answered here."""
        for name in self._names():
            with contextlib.suppress(OSError):
                taken = self._folder / f"{name}{_TAKEN}"
                os.rename(self._folder / f"{name}{_COMMAND}", taken)  # whoever moves it does it
                command = _read(taken, name)
                if command is None:
                    self._put(name, Answer(ok=False, text="it is no command"))
                elif why := command.complaint:
                    self._put(name, Answer(ok=False, text=f"refused: {why}"))
                else:
                    yield command

    def answer(self, command: Command, answer: Answer) -> None:
        """Tell what came of a command; that nobody can be told ends no session."""
        self._put(command.id, answer)

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted(one.name.removesuffix(_COMMAND) for one in entries if one.name.endswith(_COMMAND))
        except OSError:
            return []

    def _put(self, name: str, answer: Answer) -> None:
        with contextlib.suppress(OSError):
            put(self._folder / f"{name}{_ANSWER}", attrs.asdict(answer))
            (self._folder / f"{name}{_TAKEN}").unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self._folder.glob(f"*{_ANSWER}"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _KEPT:
                    path.unlink()


# The person's side.


def send(session: Path, command: str, args: dict[str, Any] | None = None) -> str:
    """Leave a command for a session; returns its id.

    Raises:
        MnqError: the folder cannot be written.
    """
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    said = Command(id=name, command=command, args=args or {}, time=time.time_ns(), by=who())
    try:
        put(folder_of(session) / f"{name}{_COMMAND}", attrs.asdict(said))
    except OSError as error:
        found = error.strerror or str(error)
        raise MnqError("the command cannot be written", where=str(session / FOLDER), found=found) from error
    return name


def wait(session: Path, name: str, *, taken: float, answered: float) -> Answer | None:
    """Return the answer to a command, None where the session did not even take it: then it never will.

    Args:
        session: its folder.
        name: of the command.
        taken: seconds within which it must be taken.
        answered: seconds within which it must be answered, once taken.
    """
    folder, began = session / FOLDER, time.monotonic()
    while True:
        if (answer := _answer(folder / f"{name}{_ANSWER}")) is not None:
            return answer
        waited = time.monotonic() - began
        if waited > taken and _withdrawn(folder / f"{name}{_COMMAND}"):
            return None
        if waited > taken + answered:
            return Answer(ok=False, text=f"it was taken, but not answered within {answered:.0f} s: mnq trade status")
        time.sleep(0.05)


def ask_halt(session: Path) -> None:
    """Leave the file that halts a session whenever it looks, now or at its next start."""
    path = folder_of(session) / HALT
    if not os.path.lexists(path):
        path.write_text(OURS, encoding="utf-8")


def clear_halt(session: Path) -> str:
    """Remove the file that halts, where `mnq trade halt` wrote it; returns why it is still there, or nothing."""
    path = session / FOLDER / HALT
    if not os.path.lexists(path):
        return ""
    try:
        if path.read_text(encoding="utf-8", errors="replace") == OURS:
            path.unlink()
            return ""
    except OSError as error:
        return f"{path} cannot be removed: {error.strerror}"
    return f"someone has put {path} there: remove it first"


def put(path: Path, document: dict[str, Any]) -> None:
    """Write a document for its owner alone, in one stroke; OSError where it cannot be."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False)
    os.replace(fresh, path)


def _withdrawn(path: Path) -> bool:
    """Take a command back that nobody has taken; False where it was taken after all."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _read(path: Path, name: str) -> Command | None:
    """Return a command, None where the file holds none."""
    try:
        if path.stat().st_size > _LONGEST:
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
        known = Command(id=name, command=said["command"], args=said["args"], time=said["time"], by=said["by"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = isinstance(known.command, str) and isinstance(known.args, dict) and isinstance(known.by, str)
    return known if sound and type(known.time) is int else None


def _answer(path: Path) -> Answer | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        path.unlink(missing_ok=True)
        return Answer(**said)
    except (OSError, ValueError, TypeError):
        return None


def who() -> str:
    """Return who gives a command: user and process."""
    try:
        return f"{getpass.getuser()}, process {os.getpid()}"
    except (OSError, KeyError, ImportError):  # a user without a name
        return f"process {os.getpid()}"
