"""The file that a journal is kept in: its tables, the one process that may write it, and why it may be refused."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import zlib
from typing import TYPE_CHECKING

from mnqcore.errors import DataError, MnqError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = "mnq.journal/1"
"""The format of a journal."""
_MAGIC = b"SQLite format 3\0"
_OLDEST = (3, 37)  # the first SQLite with STRICT tables
_RULE = "the journal is append-only"
_TABLES = {
    "header": "CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "events": "CREATE TABLE events (seq INTEGER PRIMARY KEY, time INTEGER NOT NULL, mono INTEGER NOT NULL,"
    " kind TEXT NOT NULL, data TEXT NOT NULL, crc INTEGER NOT NULL) STRICT",
}
# INSERT OR REPLACE deletes without a word: only a trigger before it can refuse.
_TRIGGERS = {
    "header_insert": f"BEFORE INSERT ON header BEGIN SELECT RAISE(ABORT, '{_RULE}'); END",
    "header_update": f"BEFORE UPDATE ON header BEGIN SELECT RAISE(ABORT, '{_RULE}'); END",
    "header_delete": f"BEFORE DELETE ON header BEGIN SELECT RAISE(ABORT, '{_RULE}'); END",
    "events_insert": "BEFORE INSERT ON events WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)"
    f" BEGIN SELECT RAISE(ABORT, '{_RULE}'); END",
    "events_update": f"BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, '{_RULE}'); END",
    "events_delete": f"BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, '{_RULE}'); END",
}
_MADE = {**_TABLES, **{name: f"CREATE TRIGGER {name} {text}" for name, text in _TRIGGERS.items()}}
_BEGIN_ANEW = "move it away to begin a new one: what is open is asked of the broker"


class Lease:
    """The right to write a journal: one process has it, and loses it when it ends, however it ends."""

    def __init__(self, path: Path) -> None:
        place = path.with_name(f"{path.name}.lock")
        try:
            self._file = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise unusable(path, error) from error
        try:
            _lock(self._file)
        except OSError as error:
            holder = os.read(self._file, 20).decode(errors="replace").strip()
            os.close(self._file)
            raise DataError(
                "another process writes this journal",
                where=str(path),
                found=f"process {holder}" if holder.isdecimal() else "a process that does not tell its id",
                next="one session has one process: end that one first",
            ) from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, str(os.getpid()).encode())

    def release(self) -> None:
        """Let another process write."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(file: int) -> None:
        os.lseek(file, 1 << 20, os.SEEK_SET)  # far behind the process id, which others must be able to read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def make(path: Path, header: dict[str, str]) -> None:
    """Write a journal without events; it comes to its place whole, or not at all."""
    if sqlite3.sqlite_version_info < _OLDEST:
        raise MnqError(
            "the SQLite of this Python is too old for a journal",
            found=sqlite3.sqlite_version,
            next=f"{'.'.join(map(str, _OLDEST))} or newer is needed",
        )
    partial = path.with_name(f".partial-{path.name}")
    try:
        with contextlib.suppress(FileNotFoundError):  # a process was killed here
            partial.unlink()
        with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN")
            for name, sql in _MADE.items():
                if name == "header_insert":
                    db.executemany("INSERT INTO header VALUES (?, ?)", sealed(header).items())
                db.execute(sql)
            db.execute("COMMIT")
        put(partial, path)
    except (OSError, sqlite3.Error) as error:
        raise unusable(path, error) from error


def put(partial: Path, path: Path) -> None:
    """Move a whole file to its name, for good."""
    partial.rename(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """Open a journal's file, which must be a SQLite database.

    Raises:
        DataError: it is missing, none, or cannot be opened.
    """
    _look_at(path)
    with reading(path):
        if not writes:
            return _prepared(sqlite3.connect(_uri(path, writes=False), uri=True, isolation_level=None))
        db = _prepared(sqlite3.connect(_uri(path, writes=True), uri=True, isolation_level=None))
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        db.execute("PRAGMA synchronous=FULL")
        for statement in ("BEGIN IMMEDIATE", "PRAGMA user_version=0", "ROLLBACK"):
            db.execute(statement)  # what cannot be written is refused now, not at the first order
        if mode != "wal":
            db.close()
            raise DataError(
                "the journal cannot be kept safely here",
                where=str(path),
                found=f"journal mode {mode}",
                next="runs belong on a local disk",
            )
        return db


def read_header(db: sqlite3.Connection, path: Path) -> dict[str, str]:
    """Return what the header says.

    Raises:
        DataError: there is none, it is of another format, or not as it was written.
    """
    with reading(path):
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'header'").fetchone():
            raise DataError("this is no journal", where=str(path), found="a database of something else")
        found: dict[str, str] = dict(db.execute("SELECT key, value FROM header"))
    if not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise damaged(path, "its header is not as it was written")
    if found.get("schema") != SCHEMA:
        raise DataError(
            "this journal is of a format that this version of mnq does not read",
            where=str(path),
            found=found.get("schema", "none"),
            next=f"it reads {SCHEMA}",
        )
    crc = found.pop("crc", "")
    if sealed(found)["crc"] != crc:
        raise damaged(path, "its header is not as it was written")
    return found


def sealed(header: dict[str, str]) -> dict[str, str]:
    """Return a header with its check sum."""
    return {**header, "crc": str(checksum(*(text for pair in sorted(header.items()) for text in pair)))}


def checksum(*parts: object) -> int:
    """Return a check sum that tells a flipped bit; it is no proof against someone who means to deceive."""
    return zlib.crc32("\0".join(map(str, parts)).encode())


def wrong_tables(db: sqlite3.Connection) -> list[str]:
    """Return what of the tables and triggers is not as it should be."""
    found: dict[str, str] = dict(db.execute("SELECT name, sql FROM sqlite_master"))
    missing = [f"{name} is missing" for name in _MADE if name not in found]
    changed = [f"{name} is changed" for name, sql in _MADE.items() if name in found and found[name] != sql]
    return missing + changed + [f"{name} is foreign" for name in found if name not in _MADE]


def broken_pages(db: sqlite3.Connection) -> list[str]:
    """Return what SQLite finds wrong with the file."""
    return [text for (text,) in db.execute("PRAGMA quick_check(5)") if text != "ok"]


def examine(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is not whole.

    Raises:
        DataError: its pages or tables are not as they should be.
    """
    with reading(path):
        for wrong in (broken_pages(db), wrong_tables(db)):
            if wrong:
                raise damaged(path, "; ".join(line.replace("\n", " ") for line in wrong[:3]))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one that says which journal cannot be read."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite's word on a torn table has its bytes
        raise damaged(path, "its tables are not as they were written") from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise damaged(path, str(error)) from error
        raise DataError("the journal cannot be read", where=str(path), found=str(error)) from error


def damaged(path: Path, found: str) -> DataError:
    """Return the error of a journal that is not as it was written."""
    return DataError("this journal is damaged", where=str(path), found=found, next=_BEGIN_ANEW)


def unusable(path: Path, error: Exception) -> DataError:
    """Return the error of a journal that cannot be made or opened."""
    found = getattr(error, "strerror", None) or str(error)
    return DataError("the journal cannot be written", where=str(path), found=found)


def _look_at(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_MAGIC))
    except FileNotFoundError:
        raise DataError("there is no journal", where=str(path)) from None
    except OSError as error:
        raise DataError("the journal cannot be read", where=str(path), found=error.strerror or str(error)) from error
    if start != _MAGIC:
        found = f"begins with {start!r}" if start else "an empty file"
        raise DataError("this is no journal, or only the rest of one", where=str(path), found=found, next=_BEGIN_ANEW)


def _uri(path: Path, *, writes: bool) -> str:
    whole = path.resolve()
    if writes:
        return f"{whole.as_uri()}?mode=rw"
    # Where nobody has it open there is no log, and reading must not make one: runs that have ended stay as they are.
    logged = any(whole.with_name(f"{whole.name}{end}").exists() for end in ("-wal", "-journal"))
    return f"{whole.as_uri()}?mode=ro" + ("" if logged else "&immutable=1")


def _prepared(db: sqlite3.Connection) -> sqlite3.Connection:
    for setting in ("busy_timeout=5000", "foreign_keys=ON", "cell_size_check=ON", "trusted_schema=OFF"):
        db.execute(f"PRAGMA {setting}")
    return db
