"""The command line's frame, `mnq plugins` and `mnq list`, as a user sees them."""

import json
import os
import subprocess
import sys

import click
import pytest

import mnqcore.cli
from mnqcore.cli import COMMANDS, cli, main
from mnqcore.errors import DataError, StrategyError

ONE_FILE = '''
from mnqcore import hookimpl, param, plugin

@plugin
class Patience:
    """Change of equity, less a cost for every bar held."""

    cost: float = param(0.5, ge=0, lt=10, unit="dollars", help="a bar in position")
    mode: str = param("bar", choices=("bar", "day"))
    limit: float | None = param(None)
    steps: tuple[int, ...] = param((1, 3), help="horizons")
    years: int = param(help="must be given")
    strict: bool = param(True)

@hookimpl
def register_rewards(register):
    register("patience", Patience)
'''


@pytest.fixture
def patience(tmp_path):
    file = tmp_path / "patience.py"
    file.write_text(ONE_FILE)
    return str(file)


@pytest.fixture
def command(monkeypatch):
    """Let `mnq run` be a command that the test wrote."""

    def put(function):
        monkeypatch.setitem(COMMANDS, "run", ("mnqcore.cli:command_of_test", "test"))
        monkeypatch.setattr(mnqcore.cli, "command_of_test", click.command()(function), raising=False)

    return put


def raising(error):
    def run():
        raise error

    return run


def test_plugins_lists_pieces_by_kind(patience, capsys):
    assert main(["-p", patience, "plugins"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "DISTRIBUTION", "STATUS", "MS"]
    row = next(line.split() for line in lines if "patience" in line)
    assert row[:5] == ["reward", "patience", "mnq-local-patience", "0", "ok"]
    assert row[5].isdigit()
    assert any(line.startswith("sizer") and "fixed" in line and line.endswith("ok      -") for line in lines)
    assert "0 not usable" in lines[-1]
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_options_of_every_command_are_taken_anywhere(where, patience, capsys):
    options = ["-p", patience, "--format", "json"]
    arguments = {
        "before": [*options, "plugins", "list"],
        "between": ["plugins", *options, "list"],
        "after": ["plugins", "list", *options],
    }

    assert main(arguments[where]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "mnq.plugins/1"
    assert [row["distribution"] for row in document["plugins"] if row["name"] == "patience"] == ["mnq-local-patience"]
    assert set(document) == {"schema", "plugins", "broken", "disabled"}


def test_plugins_ends_with_what_is_broken_and_what_to_do(install, capsys):
    install("mnq-torn", "1.0", "import nothing_of_this_name\n")
    install("mnq-late", "2.0", "", requires=["mnq>=99"])

    assert main(["plugins", "-p", "no:sizer/fixed"]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert "-" in next(line for line in lines if "mnq-torn 1.0" in line and "broken" in line)
    assert "needs mnq>=99" in next(line for line in lines if "mnq-late 2.0" in line)
    assert "off" in next(line for line in lines if line.startswith("sizer") and " fixed " in line)
    at = lines.index("torn: mnq_torn.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'")
    assert lines[at + 1] == "  the rest of mnq works without it. pip install nothing_of_this_name, or: -p no:mnq-torn"
    assert "2 not usable" in lines[-1]


def test_broken_plugins_warn_on_stderr_once_and_spoil_nothing(install, capsys):
    install("mnq-torn", "1.0", "import nothing_of_this_name\n")

    assert main(["list", "sizer"]) == 0
    captured = capsys.readouterr()
    assert main(["list", "sizer", "-q"]) == 0

    assert "fixed" in captured.out
    assert captured.err.splitlines() == [
        "warning: plugin 'torn' (mnq-torn 1.0) was not loaded: ModuleNotFoundError: No module named "
        "'nothing_of_this_name'",
        "         pip install nothing_of_this_name, or: -p no:mnq-torn; details: mnq plugins",
    ]
    assert capsys.readouterr().err == ""


def test_load_imports_each_piece_and_reports_what_fails(install, capsys):
    code = "from mnqcore import hookimpl\n@hookimpl\ndef register_agents(register):\n    register('x', 'not_there:X')\n"
    install("mnq-hollow", "1.0", code)

    assert main(["plugins", "--format", "json"]) == 0
    unloaded = json.loads(capsys.readouterr().out)["plugins"]
    assert main(["plugins", "--load", "--format", "json"]) == 0
    loaded = json.loads(capsys.readouterr().out)["plugins"]
    assert main(["plugins", "--load"]) == 0

    assert [row["status"] for row in unloaded if row["name"] == "x"] == ["ok"]
    (hollow,) = (row for row in loaded if row["name"] == "x")
    assert (hollow["status"], hollow["ms"]) == ("broken", None)
    assert "No module named 'not_there'" in hollow["error"]
    (fixed,) = (row for row in loaded if (row["kind"], row["name"]) == ("sizer", "fixed"))
    assert fixed["ms"] >= 0
    assert "x: not_there:X: ModuleNotFoundError" in capsys.readouterr().out


def test_list_long_tells_all_of_a_parameter(patience, capsys):
    assert main(["-p", patience, "list", "reward", "--long"]) == 0

    block = capsys.readouterr().out.partition("reward 'patience' (mnq-local-patience 0)\n")[2].splitlines()
    assert block[0].strip() == "Change of equity, less a cost for every bar held."
    assert [line.strip() for line in block[1:10]] == [
        "cost  float, >= 0, < 10, dollars, default 0.5",
        "a bar in position",
        'mode  str, bar | day, default "bar"',
        "limit  float or none, default none",
        "steps  list of int, default [1, 3]",
        "horizons",
        "years  int, required",
        "must be given",
        "strict  bool, default true",
    ]


def test_list_as_json_is_for_machines(patience, capsys):
    assert main(["-p", patience, "list", "reward", "--format", "json"]) == 0

    document = json.loads(capsys.readouterr().out)
    (piece,) = (piece for piece in document["pieces"] if piece["name"] == "patience")
    assert document["schema"] == "mnq.list/1"
    assert piece["summary"].startswith("Change of equity")
    assert piece["parameters"][0] == {
        "name": "cost", "type": "float", "default": 0.5, "required": False, "ge": 0, "gt": None, "le": None, "lt": 10,
        "choices": None, "help": "a bar in position", "unit": "dollars", "tune": None,
    }  # fmt: skip
    assert piece["parameters"][4]["required"] is True


def test_list_without_a_kind_lists_all_and_an_unknown_kind_suggests(capsys):
    assert main(["list"]) == 0
    everything = capsys.readouterr().out
    assert main(["list", "sizers"]) == 2

    assert {"data", "sizer", "agent"} <= {line.split()[0] for line in everything.splitlines() if line[0] != " "}
    assert "did you mean 'sizer'?" in capsys.readouterr().err


def test_an_unknown_command_and_option_suggest(capsys):
    assert main(["plugin"]) == 2
    assert "no command 'plugin'. Did you mean 'plugins'?" in capsys.readouterr().err
    assert main(["plugins", "--laod"]) == 2
    assert "--load" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert main(["--version"]) == 0

    assert all(f"\n  {name} " in text for name in COMMANDS)
    assert all(len(line) <= 80 and line.isascii() for line in text.splitlines())
    assert capsys.readouterr().out.startswith("mnq ")
    assert cli.name == "cli"


def test_an_error_is_a_block_on_stderr_with_its_exit_code(command, capsys, monkeypatch):
    monkeypatch.delenv("MNQ_RAISE", raising=False)
    command(raising(DataError("no bars", where="x.csv", next="mnq data check x.csv")))

    assert main(["run"]) == 5

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "error: no bars",
        "  where   x.csv",
        "  next    mnq data check x.csv",
        "  (exit 5; --traceback shows all)",
    ]


def test_findings_of_a_strategy_file_keep_their_own_place(command, capsys):
    command(raising(StrategyError("s.toml:3:7: error: no reward named 'x' is installed")))

    assert main(["run"]) == 3
    assert capsys.readouterr().err.startswith("s.toml:3:7: error: no reward")


@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_traceback_is_shown_when_asked(how, command, capsys, monkeypatch):
    command(raising(DataError("no bars")))
    if how == "environment":
        monkeypatch.setenv("MNQ_RAISE", "1")

    assert main(["run", "--traceback"] if how == "option" else ["run"]) == 5
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_bug_is_called_one(command, capsys, monkeypatch):
    monkeypatch.delenv("MNQ_RAISE", raising=False)
    command(raising(ZeroDivisionError("division by zero")))

    assert main(["run"]) == 1

    text = capsys.readouterr().err
    assert "error: ZeroDivisionError: division by zero" in text
    assert "a bug in mnq" in text
    assert "--traceback" in text
    assert "Traceback (most" not in text


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (EOFError(), 1), (SystemExit(7), 7)])
def test_interruptions_have_their_exit_codes(error, code, command):
    command(raising(error))

    with pytest.raises(SystemExit) as left:
        sys.exit(main(["run"]))
    assert left.value.code == code


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "\u00c4nderung \\u2192"), ("ascii", "nderung")])
def test_a_terminal_that_cannot_show_a_character_is_survived(encoding, shown, tmp_path):
    file = tmp_path / "patience.py"
    file.write_text(ONE_FILE.replace("Change of equity", "\u00c4nderung \u2192"), encoding="utf-8")
    command = [sys.executable, "-m", "mnqcore", "-p", str(file), "list", "reward"]
    environ = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    done = subprocess.run(command, env=environ, capture_output=True, check=True)

    assert shown in done.stdout.decode(encoding, errors="replace")
    assert done.stderr == b""


def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "mnqcore", "plugins"]

    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (1, "")


def test_the_log_goes_where_it_is_sent(tmp_path):
    file = tmp_path / "loud.py"
    file.write_text(
        f"import logging\n{ONE_FILE}\n    logging.getLogger('mnq').info('hello')\n"
        "    logging.getLogger('mnq').debug('details')\n"
    )
    command = [sys.executable, "-m", "mnqcore", "-p", str(file), "plugins", "-v", "--log-file", str(tmp_path / "log")]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stderr == "INFO hello\n"
    assert "INFO mnq hello" in (tmp_path / "log").read_text()
    assert "DEBUG mnq details" in (tmp_path / "log").read_text()
    assert subprocess.run([*command[:-1], str(tmp_path)], capture_output=True, check=False).returncode == 2
