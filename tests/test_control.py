"""Commands to a session through files in its folder: done once or never, answered, and refused when they are old."""

import json
import os
import threading
import time
from typing import Any

import attrs
import pytest

from mnqcore.errors import MnqError
from mnqcore.trading import control
from mnqcore.trading.control import Answer, Command, Inbox, ask_halt, clear_halt, folder_of, send, wait


def names(folder):
    return sorted(path.name.partition(".")[2] for path in folder_of(folder).iterdir())


def write(folder, text, name="00001-x"):
    (folder_of(folder) / f"{name}.command.json").write_text(text)


def heard(folder, name, taken=1.0, answered=1.0) -> Any:
    """What came of a command; Any, as it is None where nobody took it."""
    return wait(folder, name, taken=taken, answered=answered)


def said(**changed):
    """A command as its file holds it."""
    return json.dumps(attrs.asdict(Command(id="", command="halt", args={}, time=time.time_ns(), by="me")) | changed)


def test_a_command_is_taken_answered_and_cleared_away(tmp_path):
    inbox = Inbox(tmp_path)
    name = send(tmp_path, "halt", {"why": "coffee"})

    (command,) = inbox.take()
    assert (command.command, command.args, command.id) == ("halt", {"why": "coffee"}, name)
    inbox.answer(command, Answer(ok=True, text="halted", found={"held": 1}))

    assert heard(tmp_path, name, 1, 1) == Answer(ok=True, text="halted", found={"held": 1})
    assert names(tmp_path) == []


def test_a_command_is_never_done_twice(tmp_path):
    send(tmp_path, "flatten")
    one, other = Inbox(tmp_path), Inbox(tmp_path)

    taken = [*one.take(), *other.take(), *one.take()]

    assert len(taken) == 1


def test_two_who_take_at_the_same_time_share_the_commands(tmp_path):
    for _ in range(40):
        send(tmp_path, "halt")
    inboxes, taken = [Inbox(tmp_path) for _ in range(4)], []
    threads = [threading.Thread(target=lambda box=box: taken.extend(box.take())) for box in inboxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({command.id for command in taken}) == len(taken) == 40


def test_commands_are_taken_in_the_order_in_which_they_were_said(tmp_path):
    for command in ("halt", "resume", "flatten"):
        send(tmp_path, command)

    assert [command.command for command in Inbox(tmp_path).take()] == ["halt", "resume", "flatten"]


def test_what_was_taken_by_a_process_that_died_is_not_done_again(tmp_path):
    name = send(tmp_path, "flatten")
    assert len([*Inbox(tmp_path).take()]) == 1

    again = Inbox(tmp_path)

    assert [*again.take()] == []
    answer = heard(tmp_path, name, 1, 1)
    assert not answer.ok
    assert "may have been done" in answer.text


@pytest.mark.parametrize(("age", "done"), [(0, True), (59, True), (61, False), (3600, False), (-61, False)])
def test_a_command_that_is_old_or_of_the_future_is_refused(tmp_path, age, done):
    write(tmp_path, said(time=time.time_ns() - age * 1_000_000_000))
    inbox = Inbox(tmp_path)

    assert len([*inbox.take()]) == done
    if not done:
        answer = heard(tmp_path, "00001-x", 1, 1)
        assert answer.text.startswith("refused: it is ")
        assert not answer.ok


@pytest.mark.parametrize(
    "text",
    [
        "", "garbage", "[]", "{}", "null", '"halt"', '{"command": 5, "args": {}, "time": 1, "by": ""}',
        '{"command": "halt", "args": [], "time": 1, "by": ""}',
        '{"command": "halt", "args": {}, "time": true, "by": ""}',
        '{"command": "halt", "args": {}, "time": "now", "by": ""}', "[" * 5000 + "]" * 5000, " " * 70_000,
        "\x00\xff",
    ],
)  # fmt: skip
def test_what_is_no_command_is_answered_and_nothing_else_happens(tmp_path, text):
    write(tmp_path, text)
    name = send(tmp_path, "halt")

    assert [command.id for command in Inbox(tmp_path).take()] == [name]
    assert heard(tmp_path, "00001-x", 1, 1) == Answer(ok=False, text="it is no command")


def test_an_unknown_command_is_refused(tmp_path):
    write(tmp_path, said(command="explode"))

    assert [*Inbox(tmp_path).take()] == []
    assert heard(tmp_path, "00001-x", 1, 1).text == "refused: there is no command 'explode'"


def test_a_command_that_nobody_takes_is_taken_back(tmp_path):
    name = send(tmp_path, "flatten")

    assert heard(tmp_path, name, 0.1, 5) is None
    assert [*Inbox(tmp_path).take()] == []


def test_a_command_that_is_taken_but_not_answered_says_so(tmp_path):
    name = send(tmp_path, "flatten")
    assert len([*Inbox(tmp_path).take()]) == 1

    answer = heard(tmp_path, name, 0.1, 0.2)

    assert not answer.ok
    assert "taken, but not answered" in answer.text


def test_an_answer_that_comes_late_is_waited_for(tmp_path):
    inbox = Inbox(tmp_path)
    name = send(tmp_path, "flatten")

    def answers():
        (command,) = inbox.take()
        time.sleep(0.4)
        inbox.answer(command, Answer(ok=True, text="flat"))

    thread = threading.Thread(target=answers)
    thread.start()
    assert heard(tmp_path, name, 0.2, 30).text == "flat"
    thread.join()


def test_half_a_file_is_never_seen(tmp_path):
    inbox = Inbox(tmp_path)
    (folder_of(tmp_path) / ".00001-x.command.json.77").write_text('{"comm')

    assert [*inbox.take()] == []


def test_the_file_that_halts_is_removed_only_by_who_wrote_it(tmp_path):
    inbox = Inbox(tmp_path)
    assert not inbox.halt
    ask_halt(tmp_path)
    assert inbox.halt
    assert clear_halt(tmp_path) == ""
    assert not inbox.halt

    (folder_of(tmp_path) / "HALT").touch()
    assert inbox.halt
    assert "remove it first" in clear_halt(tmp_path)
    assert inbox.halt
    ask_halt(tmp_path)  # another's stays as it is
    assert (folder_of(tmp_path) / "HALT").read_text() == ""


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_commands_are_for_their_owner_alone(tmp_path):
    send(tmp_path, "halt")

    assert folder_of(tmp_path).stat().st_mode & 0o77 == 0
    assert all(path.stat().st_mode & 0o77 == 0 for path in folder_of(tmp_path).iterdir())


def test_a_folder_that_cannot_be_written_is_an_error_and_ends_no_session(tmp_path, monkeypatch):
    inbox = Inbox(tmp_path)
    name = send(tmp_path, "halt")
    (command,) = inbox.take()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(control, "put", full)
    inbox.answer(command, Answer(ok=True, text="halted"))
    with pytest.raises(MnqError, match="cannot be written"):
        send(tmp_path, "halt")
    assert not heard(tmp_path, name, 0.1, 0.1).ok


def test_answers_that_nobody_has_read_are_removed_in_time(tmp_path):
    old = folder_of(tmp_path) / "00001-x.answer.json"
    old.write_text("{}")
    os.utime(old, (1, 1))

    Inbox(tmp_path)

    assert not old.exists()
