"""The journal: what it returned from is kept, whatever is killed, full or broken; what is not its own is refused."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mnqcore.errors import DataError, JournalBroken, MnqError
from mnqcore.trading.journal import FILE, SCHEMA, Entry, Header, Journal, finite

HEADER = Header(
    account="DU123",
    mode="paper",
    strategy="cross",
    digest="ab" * 32,
    session="0123abcd",
    instrument={"name": "MNQ", "tick_size": 0.25},
    versions={"mnq": "0.1.0"},
    created=1_767_600_000_000_000_000,
)
NOW = 1_767_623_400_000_000_000  # 2026-01-05 14:30 UTC
SOME = (Entry("start", {"restart": 0}), Entry("state", {"state": "ACTIVE", "why": "told to"}))
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")

WRITER = """
import sys
from pathlib import Path
from mnqcore.trading.journal import Entry, Journal
journal = Journal.open(Path(sys.argv[1]))
while True:
    print(*journal.write(Entry("bar", {"pad": "x" * 700}), Entry("decision", {"pad": "y" * 700}), now=1), flush=True)
"""
LIMITED = """
import resource, sys
from pathlib import Path
from mnqcore.errors import JournalBroken
from mnqcore.trading.journal import Entry, Journal

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

journal = Journal.open(Path(sys.argv[1]))
limit(60_000)
done = []
try:
    while True:
        done += journal.write(Entry("bar", {"pad": "x" * 3000}), now=1)
except JournalBroken as error:
    print(error.facts["found"])
print(journal.broken, journal.retry(), journal.broken)
limit(resource.RLIM_INFINITY)
print(journal.retry(), journal.broken)
print(len(done), *journal.write(Entry("end", {"why": "x"}), now=2), journal.count("bar"))
"""


@pytest.fixture
def path(tmp_path):
    """Where a journal with two events lies, closed."""
    with Journal.create(tmp_path / FILE, HEADER) as journal:
        journal.write(*SOME, now=NOW)
    return tmp_path / FILE


def process(code, *arguments, **more):
    """Start Python on some code, with what it prints to be read."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def altered(path, *statements):
    """Change a journal as its own triggers would not let anybody."""
    db = sqlite3.connect(path)
    for statement in statements:
        db.execute(statement)
    db.commit()
    db.close()


# What is written is read


def test_a_new_journal_knows_whose_it_is_and_is_empty(tmp_path):
    with Journal.create(tmp_path / FILE, HEADER) as journal:
        assert journal.header == HEADER
        assert journal.header.schema == SCHEMA
        assert list(journal.events()) == []
        assert journal.last("bar") is None

    with Journal.open(tmp_path / FILE, account="DU123", mode="paper") as journal:
        assert journal.header == HEADER


def test_events_are_numbered_on_across_openings(path):
    with Journal.open(path) as journal:
        assert journal.write(Entry("end", {"why": "done"}), now=NOW + 5) == [3]
        assert [event.seq for event in journal.events()] == [1, 2, 3]
        last = journal.last("end")
    assert last is not None
    assert (last.time, last.kind, last.data) == (NOW + 5, "end", {"why": "done"})
    assert 0 < last.mono <= time.monotonic_ns()


def test_nothing_written_is_no_event(path):
    with Journal.open(path) as journal:
        assert journal.write(now=NOW) == []
        assert journal.count("start") == 1


def test_events_are_found_by_kind_and_number_across_portions(tmp_path):
    with Journal.create(tmp_path / FILE, HEADER) as journal:
        for number in range(600):
            journal.write(Entry("bar", {"number": number}), Entry("decision", {}), now=number)

        assert [event.data["number"] for event in journal.events(["bar"], after=1000)] == [*range(500, 600)]
        assert len(list(journal.events({"bar", "decision"}))) == 1200
        assert journal.count("bar") == 600


def test_what_is_written_while_events_are_read_is_read_too(path):
    with Journal.open(path) as journal:
        seen = []
        for event in journal.events():
            seen.append(event.seq)
            if event.seq < 700:
                journal.write(Entry("alert", {}), now=NOW)
        assert seen == [*range(1, len(seen) + 1)]


TEXT = st.text(st.characters(codec="utf-8"))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ENTRY = st.builds(Entry, TEXT.filter(bool), st.dictionaries(TEXT, PLAIN, max_size=4))
TIMES = st.integers(-(2**63), 2**63 - 1)
WRITES = st.lists(st.tuples(st.lists(ENTRY, max_size=3), TIMES), max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=WRITES)
def test_whatever_json_holds_comes_back_as_it_was(tmp_path_factory, writes):
    path = tmp_path_factory.mktemp("round") / FILE
    with Journal.create(path, HEADER) as journal:
        numbers = [seq for entries, now in writes for seq in journal.write(*entries, now=now)]
    expected = [(now, entry.kind, entry.data) for entries, now in writes for entry in entries]

    with Journal.open(path) as journal:
        found = list(journal.events())

    assert [event.seq for event in found] == numbers == [*range(1, len(expected) + 1)]
    assert [(event.time, event.kind, event.data) for event in found] == expected


class Colour(Enum):
    RED = "red"


class Number(IntEnum):
    TWO = 2


def test_enums_and_numbers_of_numpy_become_plain(path):
    now: Any = np.int64(NOW)
    data = {"role": Colour.RED, "exit": Number.TWO, "ticks": np.int64(7), "took": np.float32(0.5), "on": np.bool_(True)}
    with Journal.open(path) as journal:
        journal.write(Entry("decision", data), now=now)
        event = journal.last("decision")
    assert event is not None
    assert event.data == {"role": "red", "exit": 2, "ticks": 7, "took": 0.5, "on": True}
    assert event.time == NOW


def test_finite_writes_none_for_what_is_no_number():
    assert finite(np.array([1.5, np.nan, np.inf, -np.inf, 0.0])) == [1.5, None, None, None, 0.0]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"x": float("nan")}, ValueError),
        ({"x": np.float64("inf")}, ValueError),
        ({"x": object()}, TypeError),
        ({"x": np.array([1, 2])}, TypeError),
    ],
)
def test_what_json_cannot_hold_is_an_error_that_writes_nothing_and_breaks_nothing(path, data, error):
    with Journal.open(path) as journal:
        with pytest.raises(error):
            journal.write(Entry("bar", {}), Entry("bar", data), now=NOW)
        with pytest.raises(OverflowError):
            journal.write(Entry("bar", {}), now=2**63)
        assert not journal.broken
        assert journal.write(Entry("end", {}), now=NOW) == [3]


# Append-only


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET kind = 'x' WHERE seq = 1",
        "DELETE FROM events WHERE seq = 2",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT seq, 0, 0, kind, data, crc FROM events WHERE seq = 1",
        "INSERT INTO events VALUES (9, 0, 0, 'x', '{}', 0)",
        "UPDATE header SET value = 'live' WHERE key = 'mode'",
        "DELETE FROM header",
        "INSERT OR REPLACE INTO header VALUES ('mode', 'live')",
        "INSERT INTO header VALUES ('more', 'x')",
    ],
)
def test_what_is_written_cannot_be_changed(path, statement):
    db = sqlite3.connect(path)

    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    db.close()


def test_types_are_strict(path):
    db = sqlite3.connect(path)

    with pytest.raises(sqlite3.IntegrityError, match="cannot store TEXT"):
        db.execute("INSERT INTO events VALUES (3, 'noon', 0, 'x', '{}', 0)")
    db.close()


def test_every_write_reaches_the_disk_before_it_returns(path):
    with Journal.open(path) as journal:
        read = {name: journal._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
        more = {name: journal._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("busy_timeout", "foreign_keys")}
    assert read == {"journal_mode": "wal", "synchronous": 2}
    assert more == {"busy_timeout": 5000, "foreign_keys": 1}


# One writer, many readers


def test_a_journal_is_never_made_over_another_file(path):
    before = path.read_bytes()

    with pytest.raises(DataError, match="there is a journal already"):
        Journal.create(path, HEADER)

    assert path.read_bytes() == before


def test_one_that_was_left_half_made_is_made_anew(tmp_path):
    (tmp_path / f".partial-{FILE}").write_bytes(b"SQLite format 3\0 and then the process was killed")

    with Journal.create(tmp_path / FILE, HEADER) as journal:
        journal.write(*SOME, now=NOW)

    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE, f"{FILE}.lock"]


@pytest.mark.parametrize("make", [Journal.open, lambda path: Journal.create(path, HEADER)])
def test_a_second_writer_is_refused_and_told_who_the_first_is(path, make):
    with Journal.open(path) as journal:
        with pytest.raises(DataError, match="another process writes this journal") as caught:
            make(path)
        assert caught.value.facts["found"] == f"process {os.getpid()}"
        assert journal.write(*SOME, now=NOW) == [3, 4]

    Journal.open(path).close()


@POSIX
def test_a_writer_that_was_killed_holds_no_lease(path):
    writer = process(WRITER, path)
    try:
        assert writer.stdout.readline()
        with pytest.raises(DataError) as caught:
            Journal.open(path)
        assert caught.value.facts["found"] == f"process {writer.pid}"
    finally:
        writer.kill()
        writer.communicate()

    Journal.open(path).close()


def test_a_reader_sees_what_a_writer_has_written_and_cannot_write(path):
    with Journal.open(path) as journal, Journal.read(path) as reader:
        journal.write(Entry("end", {"why": "x"}), now=NOW)
        assert reader.count("end") == 1
        assert reader.header == HEADER
        with pytest.raises(JournalBroken, match="readonly"):
            reader.write(Entry("end", {}), now=NOW)
        assert journal.write(Entry("end", {"why": "y"}), now=NOW) == [4]


def test_reading_one_that_nobody_writes_leaves_its_folder_as_it_was(path):
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    with Journal.read(path) as journal:
        assert journal.count("start") == 1

    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_backup_of_one_that_is_written_is_whole(path, tmp_path):
    copy = tmp_path / "copy.sqlite"
    with Journal.open(path) as journal:
        journal.write(Entry("end", {"why": "x"}), now=NOW)
        journal.backup(copy)
        events = list(journal.events())
        with pytest.raises(MnqError, match="cannot be copied"):
            journal.backup(copy)

    with Journal.open(copy, account="DU123", mode="paper") as other:
        assert list(other.events()) == events
        assert other.write(Entry("end", {}), now=NOW) == [4]
    assert not list(tmp_path.glob(".partial*"))


def test_a_backup_can_be_made_by_a_reader(path, tmp_path):
    with Journal.open(path) as journal, Journal.read(path) as reader:
        reader.backup(tmp_path / "copy.sqlite")
        assert list(Journal.read(tmp_path / "copy.sqlite").events()) == list(journal.events())


# F53: the disk


def fill(journal, written):
    """Write until it breaks."""
    while len(written) < 100:
        written += journal.write(Entry("bar", {"number": len(written), "pad": "x" * 500}), now=NOW)


def test_f53_a_full_disk_breaks_it_until_it_can_be_written_again(path):
    with Journal.open(path) as journal:
        journal._db.execute("PRAGMA max_page_count = 5")
        written: list[int] = []
        with pytest.raises(JournalBroken) as caught:
            fill(journal, written)
        assert caught.value.facts["found"] == "database or disk is full"
        assert caught.value.exit_code == 1
        assert journal.broken
        with pytest.raises(JournalBroken, match="disk is full"):  # at once, with nothing tried
            journal.write(Entry("end", {}), now=NOW)
        assert [event.seq for event in journal.events()] == [1, 2, *written]

        assert journal.retry()  # there is room again

        assert not journal.broken
        assert journal.write(Entry("end", {}), now=NOW) == [len(written) + 3]
    with Journal.open(path) as journal:
        assert journal.count("bar") == len(written)


@POSIX
def test_f53_a_file_that_can_grow_no_more_breaks_it_until_it_can(path):
    writer = process(LIMITED, path)
    out, err = writer.communicate(timeout=60)

    assert writer.returncode == 0, err
    found, broken, retried, end = out.splitlines()
    assert found in ("database or disk is full", "disk I/O error")
    assert broken == "True False True"
    assert retried == "True False"
    count, seq, bars = map(int, end.split())
    assert bars >= count > 0  # the one that failed may be there: a disk that breaks does not say
    assert seq == bars + 3
    with Journal.open(path) as journal:
        assert journal.count("bar") == bars


def test_f53_a_disk_that_turns_read_only_breaks_it(path):
    with Journal.open(path) as journal:
        journal._db.execute("PRAGMA query_only = ON")

        with pytest.raises(JournalBroken, match="readonly"):
            journal.write(*SOME, now=NOW)

        assert journal.broken
        assert journal.count("start") == 1


def test_f53_a_file_that_is_gone_is_no_success_of_a_retry(path):
    with Journal.open(path) as journal:
        path.rename(path.with_name("gone"))
        assert not journal.retry()
        assert journal.broken
        with pytest.raises(JournalBroken, match="there is no journal"):
            journal.write(*SOME, now=NOW)


@pytest.fixture
def sealed_folder():
    """A folder with a journal that this process may read and not write."""
    folder = Path(tempfile.mkdtemp())
    with Journal.create(folder / FILE, HEADER) as journal:
        journal.write(*SOME, now=NOW)
    (folder / f"{FILE}.lock").unlink()
    folder.chmod(0o555)
    root = os.geteuid() == 0  # to whom nothing is read-only
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


@POSIX
def test_f53_a_folder_that_cannot_be_written_is_told_and_can_be_read(sealed_folder):
    for make in (Journal.open, lambda path: Journal.create(path.with_name("new.sqlite"), HEADER)):
        with pytest.raises(DataError, match="cannot be written") as caught:
            make(sealed_folder / FILE)
        assert caught.value.facts["found"] == "Permission denied"

    with Journal.read(sealed_folder / FILE) as journal:
        assert journal.count("start") == 1


@POSIX
def test_f53_a_file_that_cannot_be_written_is_told(sealed_folder):
    if os.geteuid() == 65534:
        os.seteuid(0)
        sealed_folder.chmod(0o777)
        os.seteuid(65534)
    else:
        sealed_folder.chmod(0o755)
        (sealed_folder / FILE).chmod(0o444)

    with pytest.raises(DataError, match="read"):
        Journal.open(sealed_folder / FILE)


def test_f53_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        Journal.create(tmp_path / "none" / FILE, HEADER)


def test_a_write_that_is_interrupted_is_taken_back(path, monkeypatch):
    from mnqcore.trading import journal as module

    class Interrupted:
        """A connection whose user presses Ctrl-C at one statement."""

        def __init__(self, db, at):
            self.db, self.at = db, at

        def __getattr__(self, name):
            return getattr(self.db, name)

        def execute(self, sql, *values):
            if sql == self.at == "BEGIN IMMEDIATE":
                raise KeyboardInterrupt
            found = self.db.execute(sql, *values)
            if sql == self.at:
                raise KeyboardInterrupt
            return found

        def executemany(self, sql, rows):
            self.db.executemany(sql, rows)
            if self.at == "INSERT":
                raise KeyboardInterrupt

    assert module.Journal is Journal
    with Journal.open(path) as journal:
        whole, expected = journal._db, [1, 2]
        for at in ("BEGIN IMMEDIATE", "INSERT", "COMMIT"):
            monkeypatch.setattr(journal, "_db", Interrupted(whole, at))
            with pytest.raises(KeyboardInterrupt):
                journal.write(Entry("bar", {}), now=NOW)
            monkeypatch.setattr(journal, "_db", whole)
            expected += [len(expected) + 1] if at == "COMMIT" else []
            assert [event.seq for event in journal.events()] == expected
            expected += journal.write(Entry("bar", {}), now=NOW)
        assert [event.seq for event in journal.events()] == expected


# F54: what is not its own


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"account": "U999", "mode": "paper"}, "another account"),
        ({"account": "DU123", "mode": "live"}, "another mode"),
    ],
)
def test_f54_another_accounts_journal_is_refused(path, wanted, told):
    with pytest.raises(DataError, match=f"belongs to {told}"):
        Journal.open(path, **wanted)

    Journal.open(path).close()  # the lease was given back


@pytest.mark.parametrize("size", [0, 7, 16, 100, 4095, 4096, 5000, 8192, 10_000])
def test_f54_a_truncated_journal_is_refused(path, size):
    with path.open("r+b") as file:
        file.truncate(size)

    with pytest.raises(DataError) as caught:
        Journal.open(path)
    assert caught.value.facts["where"] == str(path)
    assert {"found", "next"} <= caught.value.facts.keys()


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough" * 200, b"SQLite format 3\0" * 300])
@pytest.mark.parametrize("open_it", [Journal.open, Journal.read])
def test_f54_what_is_no_journal_is_refused(tmp_path, content, open_it):
    (tmp_path / FILE).write_bytes(content)

    with pytest.raises(DataError):
        open_it(tmp_path / FILE)


@pytest.mark.parametrize("open_it", [Journal.open, Journal.read])
def test_f54_a_missing_journal_is_refused_and_leaves_nothing(tmp_path, open_it):
    with pytest.raises(DataError, match="there is no journal"):
        open_it(tmp_path / FILE)
    with pytest.raises(DataError):
        open_it(tmp_path)

    assert not list(tmp_path.iterdir())


def test_f54_another_programs_database_is_refused(tmp_path):
    altered(tmp_path / FILE, "CREATE TABLE mine (x)")

    with pytest.raises(DataError, match="this is no journal"):
        Journal.open(tmp_path / FILE)


@pytest.mark.parametrize("open_it", [Journal.open, Journal.read])
def test_f54_another_format_is_refused(tmp_path, open_it):
    Journal.create(tmp_path / FILE, attrs.evolve(HEADER, schema="mnq.journal/2")).close()

    with pytest.raises(DataError, match="format that this version") as caught:
        open_it(tmp_path / FILE)
    assert caught.value.facts["found"] == "mnq.journal/2"


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["DROP TRIGGER events_update"], "events_update is missing"),
        (["DROP TRIGGER events_delete", "DELETE FROM events WHERE seq = 2"], "events_delete is missing"),
        (["CREATE TABLE more (x)"], "more is foreign"),
        (["DROP TRIGGER header_update", "UPDATE header SET value = 'live' WHERE key = 'mode'"], "its header"),
    ],
)
def test_f54_a_journal_that_was_tampered_with_is_refused(path, statements, found):
    altered(path, *statements)

    with pytest.raises(DataError, match="damaged") as caught:
        Journal.open(path)
    assert found in caught.value.facts["found"]


TRIGGER = "CREATE TRIGGER events_{0} BEFORE {1} ON events BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"


@pytest.mark.parametrize(
    ("name", "statement", "found"),
    [
        ("update", "UPDATE events SET time = time + 1 WHERE seq = 2", "event 2 is not as it was written"),
        ("update", "UPDATE events SET data = '{}' WHERE seq = 1", "event 1 is not as it was written"),
        ("delete", "DELETE FROM events WHERE seq = 1", "event 1 is missing"),
    ],
)
def test_f54_an_event_that_was_tampered_with_is_found(path, name, statement, found):
    altered(path, f"DROP TRIGGER events_{name}", statement, TRIGGER.format(name, name.upper()))

    with pytest.raises(DataError) as caught:
        Journal.open(path)
    assert caught.value.facts["found"] == found
    if "written" in found:
        with Journal.read(path) as journal, pytest.raises(DataError, match=found):
            list(journal.events())


@attrs.frozen
class Longer:
    """A journal of several pages."""

    bytes: Any = attrs.field(repr=False)
    events: Any = attrs.field(repr=False)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """Make a journal of several pages."""
    path = tmp_path_factory.mktemp("longer") / FILE
    with Journal.create(path, HEADER) as journal:
        for number in range(40):
            journal.write(Entry("bar", {"number": number, "pad": "x" * (7700 if number == 7 else 200)}), now=NOW)
        events = list(journal.events())
    return Longer(path.read_bytes(), events)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2**32))
@example(18 * 8)  # SQLite takes it for a file that may only be read
@example(3584 * 8 + 7)  # in the text of a table: SQLite's error is no UTF-8
@example(4108 * 8)  # in the header's page: what is text becomes NULL
def test_f54_a_flipped_bit_is_refused_or_changes_nothing(tmp_path_factory, longer, place):
    content, events = longer.bytes, longer.events
    at = place % (len(content) * 8)
    flipped = bytearray(content)
    flipped[at // 8] ^= 1 << at % 8
    path = tmp_path_factory.mktemp("flip") / FILE
    path.write_bytes(flipped)

    try:
        with Journal.open(path, account="DU123", mode="paper") as journal:
            same = list(journal.events()) == events
            assert same
            assert journal.header == HEADER
            assert journal.write(Entry("end", {}), now=NOW) == [len(events) + 1]
    except DataError:
        return
    finally:
        shutil.rmtree(path.parent)


# F55: power loss, and processes that are killed


def test_f55_a_commit_survives_the_loss_of_all_that_was_not_synced(tmp_path, path):
    lost = tmp_path / "lost"
    lost.mkdir()
    with Journal.open(path) as journal:
        for number in range(30):
            numbers = journal.write(Entry("intent", {"ref": number, "pad": "x" * 900}), now=NOW)
            # The index (-shm) is never synced: it is what a power cut takes, with what comes behind the last commit.
            for name in (FILE, f"{FILE}-wal"):
                shutil.copyfile(tmp_path / name, lost / name)
            with (lost / f"{FILE}-wal").open("ab") as log:
                log.write(b"half of a frame that never reached the disk" * 50)
            with Journal.open(lost / FILE) as kept:
                assert [event.seq for event in kept.events()] == [*range(1, numbers[-1] + 1)]
            for file in lost.iterdir():
                file.unlink()


def test_f55_half_a_commit_in_the_log_is_no_commit(tmp_path, path):
    lost = tmp_path / "lost"
    lost.mkdir()
    with Journal.open(path) as journal:
        journal.write(Entry("bar", {"number": 1}), now=NOW)
        before = (tmp_path / f"{FILE}-wal").stat().st_size
        journal.write(*(Entry("bar", {"pad": "x" * 3000}) for _ in range(4)), now=NOW)
        after = (tmp_path / f"{FILE}-wal").stat().st_size
        content = (tmp_path / FILE).read_bytes(), (tmp_path / f"{FILE}-wal").read_bytes()
    for size in (before, before + 10, before + 4120, after - 1):
        (lost / FILE).write_bytes(content[0])
        (lost / f"{FILE}-wal").write_bytes(content[1][:size])
        with Journal.open(lost / FILE) as kept:
            assert [event.seq for event in kept.events()] == [1, 2, 3]
            assert kept.write(Entry("end", {}), now=NOW) == [4]
        for file in lost.iterdir():
            file.unlink()


@POSIX
@pytest.mark.parametrize("lines", [1, 7, 60, 600])
def test_f55_a_writer_that_is_killed_loses_no_write_that_returned(path, lines):
    writer = process(WRITER, path)
    told = [writer.stdout.readline() for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    told += writer.stdout.read().splitlines()
    errors = writer.stderr.read()
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL, errors
    returned = [int(seq) for line in told for seq in line.split()]

    with Journal.read(path) as journal:  # in the state in which it was left
        seen = [event.seq for event in journal.events()]
    with Journal.open(path) as journal:
        kept = [event.seq for event in journal.events()]
        kinds = [event.kind for event in journal.events(after=2)]

    assert seen == kept == [*range(1, len(kept) + 1)]
    assert returned == kept[2 : 2 + len(returned)]
    assert len(kept) - 2 - len(returned) in (0, 2)  # a write whose return was not heard of, never half of one
    assert kinds == ["bar", "decision"] * (len(kinds) // 2)


@POSIX
def test_f55_one_that_is_killed_as_it_is_made_can_be_made(tmp_path):
    code = """
import os, sys
from pathlib import Path
from mnqcore.trading import journal_file
from tests.test_journal import HEADER
from mnqcore.trading.journal import Journal
count = 0
def trace(frame, event, argument):
    global count
    count += event == "line" and frame.f_code.co_filename == journal_file.__file__
    if count == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
    return trace
sys.settrace(trace)
Journal.create(Path(sys.argv[1]), HEADER)
"""
    for at in range(5, 60, 6):
        folder = tmp_path / str(at)
        folder.mkdir()
        process(code, folder / FILE, at, cwd=os.getcwd()).communicate(timeout=60)
        if (folder / FILE).exists():
            journal = Journal.open(folder / FILE, account="DU123", mode="paper")
        else:
            journal = Journal.create(folder / FILE, HEADER)
        assert journal.write(*SOME, now=NOW) == [1, 2]
        journal.close()


def test_a_header_must_have_a_session_of_eight_hex_digits():
    with pytest.raises(ValueError, match="session"):
        attrs.evolve(HEADER, session="nothexat")
