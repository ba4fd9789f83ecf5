"""The journal of a trading session: what was meant, sent and heard, kept so that no crash can lose it.

A SQLite file on a local disk. Its header says whose it is and never changes; its events are only ever added to. What
`write` returned from is on the disk: neither a killed process nor a cut cable takes it away.
"""

from __future__ import annotations

import errno
import operator
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError, JournalBroken, MnqError
from mnqcore.trading import journal_file
from mnqcore.trading.journal_rows import KINDS, SCHEMA, Entry, Event, Header, finite, from_row, header_of, texts, to_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["FILE", "KINDS", "SCHEMA", "Entry", "Event", "Header", "Journal", "JournalBroken", "finite"]

FILE = "journal.sqlite"
"""What the journal of a session or a run is called."""
_ROW = "seq, time, mono, kind, data, crc"
_INSERT = f"INSERT INTO events ({_ROW}) VALUES (?, ?, ?, ?, ?, ?)"
_AT_ONCE = 500  # events read in one go: what is read stands still, what is written goes on


class Journal:
    """One journal, open for writing by this process alone, or for reading beside whoever writes it."""

    def __init__(
        self, path: Path, header: Header, db: sqlite3.Connection, lease: journal_file.Lease | None = None
    ) -> None:
        self.path = path
        self.header = header
        self._db = db
        self._lease = lease
        self._trouble = ""
        self._last = self._newest() if lease else 0

    @classmethod
    def create(cls, path: Path, header: Header) -> Journal:
        """Make a journal without events and open it for writing.

        Raises:
            DataError: there is a file of that name, or none can be made.
        """
        lease = journal_file.Lease(path)
        try:
            if path.exists():
                raise DataError("there is a journal already", where=str(path), next="a session goes on with its own")
            journal_file.make(path, texts(header))
            return cls(path, header, journal_file.connect(path, writes=True), lease)
        except BaseException:
            lease.release()
            raise

    @classmethod
    def open(cls, path: Path, *, account: str | None = None, mode: str | None = None) -> Journal:
        """Open a journal for writing, when all of it is as it was written.

        Raises:
            DataError: it is missing, damaged, of another account, mode or format, or another process writes it.
        """
        if not path.exists():  # a lock beside nothing would only puzzle
            raise DataError("there is no journal", where=str(path))
        lease = journal_file.Lease(path)
        try:
            db = journal_file.connect(path, writes=True)
            try:
                journal = cls._checked(path, db, lease)
                _refuse_others(journal, account, mode)
            except BaseException:
                db.close()
                raise
        except BaseException:
            lease.release()
            raise
        return journal

    @classmethod
    def read(cls, path: Path) -> Journal:
        """Open a journal for reading only, also while a session writes it; its events are checked as they are read.

        Raises:
            DataError: it is missing, no journal, or of another format.
        """
        db = journal_file.connect(path, writes=False)
        try:
            return cls(path, header_of(journal_file.read_header(db, path), path), db)
        except BaseException:
            db.close()
            raise

    @classmethod
    def _checked(cls, path: Path, db: sqlite3.Connection, lease: journal_file.Lease) -> Journal:
        header = header_of(journal_file.read_header(db, path), path)
        journal_file.examine(db, path)
        journal = cls(path, header, db, lease)
        for seq, event in enumerate(journal.events(), start=1):
            if event.seq != seq:
                raise journal_file.damaged(path, f"event {seq} is missing")
        return journal

    @property
    def broken(self) -> bool:
        """Whether a write has failed, and none has been possible since."""
        return bool(self._trouble)

    @property
    def trouble(self) -> str:
        """Why it cannot be written; empty where it can."""
        return self._trouble

    @property
    def newest(self) -> int:
        """The number of the last event, as far as this process knows."""
        return self._last

    def write(self, *entries: Entry, now: int) -> list[int]:
        """Add events as one: all of them are on the disk when this returns. Return their numbers.

        After a failure nothing is written before `retry` succeeds. What failed may be in the journal or not: a disk
        that breaks does not say.

        Raises:
            JournalBroken: the disk is full, read-only or broken.
        """
        if self._trouble:
            raise self._failure()
        mono, now = time.monotonic_ns(), operator.index(now)
        rows = [to_row(seq, now, mono, entry) for seq, entry in enumerate(entries, start=self._last + 1)]
        if not rows:
            return []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(_INSERT, rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._trouble = str(error)
            self._settle()
            raise self._failure() from error
        except BaseException:
            self._settle()
            raise
        self._last += len(rows)
        return [row[0] for row in rows]

    def retry(self) -> bool:
        """Open the file anew, try a write that changes no event, and return whether the journal can be written again.

        One that is not broken is tried as well.
        """
        self._settle()
        try:
            db = journal_file.connect(self.path, writes=True)
        except MnqError as error:
            self._trouble = error.facts.get("found", error.what)
            return False
        try:
            (tries,) = db.execute("PRAGMA user_version").fetchone()
            db.execute(f"PRAGMA user_version = {(tries + 1) % 2**31}")
            journal_file.examine(db, self.path)
            (self._last,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
        except (MnqError, sqlite3.Error) as error:
            self._trouble = error.facts.get("found", error.what) if isinstance(error, MnqError) else str(error)
            db.close()
            return False
        self._db.close()
        self._db, self._trouble = db, ""
        return True

    def events(self, kinds: Collection[str] = (), after: int = 0) -> Iterator[Event]:
        """Yield events in their order, those of some kinds or all, behind the number `after`.

        Raises:
            DataError: an event is not as it was written.
        """
        wanted = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        query = f"SELECT {_ROW} FROM events WHERE seq > ? {wanted} ORDER BY seq LIMIT {_AT_ONCE}"
        while rows := self._fetch(query, after, *kinds):
            yield from (from_row(row, self.path) for row in rows)
            after = rows[-1][0]

    def last(self, kind: str) -> Event | None:
        """Return the latest event of a kind."""
        rows = self._fetch(f"SELECT {_ROW} FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1", kind)
        return from_row(rows[0], self.path) if rows else None

    def count(self, kind: str) -> int:
        """Return how many events of a kind there are."""
        return int(self._fetch("SELECT count(*) FROM events WHERE kind = ?", kind)[0][0])

    def backup(self, path: Path) -> None:
        """Write a whole copy to a new file, also while the journal is written: copying the file itself may tear it.

        Raises:
            MnqError: there is such a file, or it cannot be written.
        """
        partial = path.with_name(f".partial-{path.name}")
        partial.unlink(missing_ok=True)
        try:
            if path.exists():
                raise FileExistsError(errno.EEXIST, "there is such a file")
            self._db.execute("VACUUM INTO ?", (str(partial),))
            journal_file.put(partial, path)
        except (OSError, sqlite3.Error) as error:
            partial.unlink(missing_ok=True)
            found = getattr(error, "strerror", None) or str(error)
            raise MnqError("the journal cannot be copied", where=str(path), found=found) from error

    def close(self) -> None:
        """Close it; another process may write it then."""
        try:
            self._db.close()
        finally:
            if self._lease:
                self._lease.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _newest(self) -> int:
        return int(self._fetch("SELECT coalesce(max(seq), 0) FROM events")[0][0])

    def _settle(self) -> None:
        """Take back what is half written, and ask the file where it stands."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._last = self._newest()
        except (sqlite3.Error, DataError):  # it is broken, and found out by the next write
            return

    def _failure(self) -> JournalBroken:
        return JournalBroken(
            "the journal cannot be written",
            where=str(self.path),
            found=self._trouble,
            next="nothing new is risked until it can be; cancelling and flattening still work",
        )

    def _fetch(self, query: str, *values: object) -> list[Any]:
        with journal_file.reading(self.path):
            return self._db.execute(query, values).fetchall()


def _refuse_others(journal: Journal, account: str | None, mode: str | None) -> None:
    for name, wanted, found in (("account", account, journal.header.account), ("mode", mode, journal.header.mode)):
        if wanted is not None and wanted != found:
            raise DataError(
                f"this journal belongs to another {name}",
                where=str(journal.path),
                found=f"{found}, not {wanted}",
                next="each account and mode has a folder of its own",
            )
