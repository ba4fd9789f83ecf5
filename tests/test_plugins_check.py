"""`mnq plugins check`, and the same checks in two lines of a test file."""

import json
import subprocess
import sys
import textwrap

import pytest

from mnqcore.cli import main
from mnqcore.errors import UsageError
from mnqcore.plugins import load
from mnqcore.testing import contract
from mnqcore.testing.subject import of_piece
from mnqcore.testing.verdict import report

PEEK = """
    import pandas as pd

    from mnqcore import hookimpl, plugin

    @plugin
    class Peek:
        '''Reads the flow of orders around a bar.'''
        warmup = 20

        def compute(self, view):
            return pd.DataFrame({"slope": view.bars["delta"].rolling(9, center=True, min_periods=1).mean()})

    @hookimpl
    def register_feature_sets(register):
        register("peek", Peek)
"""
HASTY = """
    {imports}
    from mnqcore import hookimpl, plugin

    {work}

    @plugin
    class Hasty:
        '''Pay the change of equity.'''

        def __call__(self, step):
            return step.equity_change.copy()

    @hookimpl
    def register_rewards(register):
        register("hasty", Hasty)
"""
PIECES = [
    (piece.kind, piece.name) for piece in load(environ={"MNQ_LOAD_PLUGINS": ""}).registered
    if piece.distribution == "mnq"
]  # fmt: skip


def written(tmp_path, code, name="own.py"):
    path = tmp_path / name
    path.write_text(textwrap.dedent(code))
    return str(path)


def hasty(tmp_path, imports="", work=""):
    """Return the results of a reward in a file that does something while it is imported."""
    plugins = load([written(tmp_path, textwrap.dedent(HASTY).format(imports=imports, work=work))], environ={})
    subject = of_piece(plugins.find("reward", "hasty"), plugins)
    return {result.check: result for result in report(subject).results}


def accused(found):
    return {name: "\n".join(map(str, one.faults)) for name, one in found.items() if one.verdict == "FAIL"}


@pytest.mark.proof
@pytest.mark.parametrize(("kind", "name"), PIECES, ids="-".join)
def test_no_built_in_piece_is_accused(kind, name, tmp_path):
    plugins = load(environ={"MNQ_LOAD_PLUGINS": ""})
    params = {"path": str(_file(tmp_path))} if name == "file" else {}

    found = report(of_piece(plugins.find(kind, name), plugins, params=params))

    assert [(result.check, result.faults) for result in found.results if result.verdict in ("FAIL", "note")] == []
    left = {result.check for result in found.results if result.verdict == "skip"}
    assert left <= ({"cases of the port"} if kind == "broker" else set())
    assert found.made >= 12


def _file(folder):
    from mnqcore.testing.checks.data import request
    from mnqplugins.data.synthetic import Synthetic

    path = folder / "bars.parquet"
    Synthetic(days=6).bars(request()).to_parquet(path)
    return path


def test_a_module_that_takes_its_time_is_told(tmp_path):
    found = accused(hasty(tmp_path, "import time", "time.sleep(0.8)"))

    assert set(found) == {"import time"}
    assert found["import time"].startswith("the import takes ")


def test_a_module_that_imports_torch_is_told_with_its_line(tmp_path):
    found = accused(hasty(tmp_path, "import torch"))

    assert set(found) == {"light import"}
    assert "the module imports torch\nown.py:2 import torch" in found["light import"]


def test_a_module_that_calls_over_the_network_is_told(tmp_path):
    call = """
    import socket
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError:
        pass
    """
    found = accused(hasty(tmp_path, "", textwrap.dedent(call)))

    assert set(found) == {"no network on import"}
    assert "127.0.0.1" in found["no network on import"]


def test_what_only_this_process_knows_is_told(tmp_path):
    code = textwrap.dedent(HASTY).format(imports="", work="SALT = float(hash('mnq') % 1000)")
    path = written(tmp_path, code.replace("step.equity_change.copy()", "step.equity_change + SALT"))
    plugins = load([path], environ={})

    found = report(of_piece(plugins.find("reward", "hasty"), plugins))

    assert {one.check for one in found.results if one.verdict == "FAIL"} == {"worker process"}


def test_the_report_says_what_where_and_what_it_most_likely_is(tmp_path, capsys):
    path = written(tmp_path, PEEK)

    code = main(["-p", path, "plugins", "check", "peek", "--column", "delta"])

    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert code == 1
    assert lines[0] == "peek (feature set, mnq-local-own 0, needs delta)"
    assert "  FAIL  look-ahead   column slope changes at bar 17 when bars from 21 on change," in lines
    assert " " * 21 + "own.py:12 rolling(9, center=True, min_periods=1)" in lines
    assert "likely: rolling(center=True) reads half of its window ahead" in " ".join(shown.split())
    assert lines[-1].startswith("1 of ")
    assert lines[-1].endswith("(exit 1)")
    assert all(len(line) <= 80 for line in lines)
    assert shown.isascii()


def test_what_a_plugin_prints_is_no_part_of_the_document(tmp_path, capsys):
    loud = PEEK.replace("def compute(self, view):", "def compute(self, view):\n            print('computing')")
    assert loud != PEEK

    main(["-p", written(tmp_path, loud), "--format", "json", "plugins", "check", "peek", "--column", "delta"])

    out, err = capsys.readouterr()
    assert json.loads(out)["schema"] == "mnq.plugins.check/1"
    assert "computing" in err


def test_one_that_leaves_another_process_without_an_answer_is_told(tmp_path, capsys):
    leaves = PEEK.replace(
        "def compute(self, view):",
        "def compute(self, view):\n            import os, sys\n"
        "            if sys.argv[0].endswith('worker.py'): os._exit(0)",
    )

    main(["-p", written(tmp_path, leaves), "plugins", "check", "peek", "--column", "delta"])

    assert "another process cannot use it: it ended before it had answered" in " ".join(capsys.readouterr().out.split())


def test_a_plugin_that_hangs_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MNQ_PLUGIN_SECONDS", "1")
    hangs = PEEK.replace("def compute(self, view):", "def compute(self, view):\n            while True: pass")

    code = main(["-p", written(tmp_path, hangs), "plugins", "check", "peek", "--column", "delta"])

    assert code == 4
    assert "peek" in capsys.readouterr().err


def test_a_column_that_the_bars_do_not_have_is_asked_for(tmp_path, capsys):
    assert main(["-p", written(tmp_path, PEEK), "plugins", "check", "peek"]) == 1

    shown = capsys.readouterr().out
    assert "do the bars have no column 'delta'? --column" in shown
    assert shown.count("FAIL") == 1


def test_json_has_every_check_with_its_rule(tmp_path, capsys):
    code = main(["-p", written(tmp_path, PEEK), "--format", "json", "plugins", "check", "peek", "--column", "delta"])

    document = json.loads(capsys.readouterr().out)
    (piece,) = document["pieces"]
    assert (code, document["schema"], document["failed"]) == (1, "mnq.plugins.check/1", 1)
    assert (piece["kind"], piece["name"], piece["failed"]) == ("features", "peek", 1)
    (peek,) = [result for result in piece["results"] if result["verdict"] == "FAIL"]
    assert peek["faults"][0]["where"].startswith("own.py:12")
    assert all(result["rule"].endswith(".") for result in piece["results"])


def test_a_parameter_can_be_set(capsys):
    assert main(["plugins", "check", "fixed", "sizer", "--set", "contracts=3"]) == 0
    assert main(["plugins", "check", "fixed", "sizer", "--set", "contracts=many"]) == 2
    assert main(["plugins", "check", "fixed", "sizer", "--set", "contrakts=3"]) == 2

    shown = capsys.readouterr()
    assert "checks passed" in shown.out
    assert "did you mean 'contracts'?" in shown.err


def test_a_name_that_two_kinds_have_is_checked_in_both_and_an_unknown_one_is_told(capsys):
    assert main(["plugins", "check", "fixed"]) == 0
    shown = capsys.readouterr().out
    assert "fixed (bracket, mnq" in shown
    assert "fixed (sizer, mnq" in shown

    assert main(["plugins", "check", "technicl"]) == 4
    assert "did you mean 'technical'?" in capsys.readouterr().err


def test_what_needs_a_parameter_says_so_and_fails_nothing(capsys):
    assert main(["plugins", "check", "file"]) == 0

    assert "needs path: --set path=VALUE" in " ".join(capsys.readouterr().out.split())


def test_two_lines_of_a_test_file_are_enough_for_pytest_and_unittest(tmp_path):
    (tmp_path / "test_own.py").write_text(
        "from mnqcore.testing import contract\n"
        'TestFixed = contract("sizer", "fixed")\n'
        'test_lower_case = contract("bracket", "fixed", stop_ticks=40)\n'
    )
    pytest_run = ran(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_own.py")
    unittest_run = ran(tmp_path, "unittest", "-q", "test_own")

    assert pytest_run.returncode == 0, pytest_run.stdout
    assert " passed" in pytest_run.stdout
    assert unittest_run.returncode == 0, unittest_run.stderr


def test_a_test_of_a_wrong_piece_fails_with_the_fault(tmp_path):
    path = written(tmp_path, PEEK)
    (tmp_path / "test_own.py").write_text(
        "from mnqcore.testing import contract\n"
        f'TestPeek = contract("features", "peek", columns=["delta"], plugins=[{path!r}])\n'
    )
    done = ran(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "test_own.py")

    assert done.returncode == 1
    assert "look_ahead" in done.stdout
    assert "column slope changes at bar 17" in done.stdout
    assert "1 failed" in done.stdout


def ran(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="there is no kind 'rewards'"):
        contract("rewards", "trade-pnl")


def test_the_kit_loads_nothing_heavy_before_a_test_runs():
    code = (
        'from mnqcore.testing import contract; contract("extractor", "lstm"); contract("features", "technical");'
        " import sys; print(*{'torch', 'pandas', 'numba', 'pytest'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
