"""`mnq --help`, `mnq plugins` and `mnq check` of built-ins must stay quick: a subprocess tells what they load."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"numba", "numpy", "pandas", "pandas_market_calendars", "pandas_ta_classic", "pyarrow", "torch"}
REPORT = """
import json, sys
from mnqcore.cli import main
code = main(sys.argv[1:])
sys.stderr.write("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
STRATEGY = """
format = 1
[strategy.cross]
instrument = "MNQ"
data = { use = "synthetic" }
agent = { use = "sma-cross", fast = 20, slow = 50 }
"""


def loaded(arguments, folder):
    """Exit code and top-level modules after a command, in a fresh interpreter without outside plugins."""
    command = [sys.executable, "-c", REPORT, *arguments]
    environ = {**os.environ, "MNQ_LOAD_PLUGINS": ""}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules), done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins"], ["plugins", "--format", "json"], ["check", "strategy.toml"]]
)
def test_a_quick_command_loads_nothing_heavy(arguments, tmp_path):
    (tmp_path / "strategy.toml").write_text(STRATEGY)

    code, modules, output = loaded(arguments, tmp_path)

    assert code == 0, output
    assert modules & HEAVY == set()


def test_help_loads_no_plugin_machinery_either(tmp_path):
    _, modules, output = loaded(["--help"], tmp_path)

    assert modules & {"attr", "cattrs", "pluggy", "packaging", "mnqplugins", "tomli"} == set()
    assert "Commands:" in output


def test_public_names_for_plugin_authors_are_light(tmp_path):
    code = "import mnqcore, sys; [getattr(mnqcore, name) for name in ('hookimpl', 'param', 'plugin', 'Step', 'Action')]"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*sys.modules)"], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert {name.partition(".")[0] for name in done.stdout.split()} & HEAVY == set()
