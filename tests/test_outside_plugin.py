"""A plugin package from outside, and a broken one, installed with pip beside the built wheel in a clean environment."""

import json
import shutil
import textwrap
from pathlib import Path

import pytest

from tests.clean import ROOT, call, environment, mnq

BROKEN = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"
        [project]
        name = "mnq-broken"
        version = "0.3"
        [project.entry-points.mnq]
        broken = "mnq_broken"
        [tool.hatch.build.targets.wheel]
        packages = ["mnq_broken"]
        """,
    "mnq_broken/__init__.py": "import nothing_of_this_name\n",
}
STRATEGY = """
format = 1
[strategy.patient]
instrument = "MNQ"
features.path = { use = "efficiency", bars = 10 }
agent = { use = "sma-cross", fast = 20, slow = 50 }
sizer = { use = "grow", after = 5, contracts = 2 }
reward = { use = "patience", cost = 0.25 }
risk = { max_position = 2 }
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The python of an environment that sees the libraries of this one, but mnq and two plugins only as wheels."""
    folder = tmp_path_factory.mktemp("clean")
    example = shutil.copytree(ROOT / "examples" / "mnq-patience", folder / "mnq-patience")
    for name, text in BROKEN.items():
        (folder / "mnq-broken" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mnq-broken" / name).write_text(textwrap.dedent(text))
    return environment(folder, [example, folder / "mnq-broken"])


def test_the_wheel_is_what_runs_and_holds_only_its_packages(clean):
    code = "import mnqcore, mnqplugins; print(mnqcore.__file__); print(mnqplugins.__file__)"

    files = [Path(line) for line in call(clean, "-c", code, cwd=clean.parent).stdout.splitlines()]

    site = files[0].parents[1]
    assert site.is_relative_to(clean.parents[1])
    assert files[1].is_relative_to(site)
    installed = {path.name for path in site.iterdir() if not path.name.startswith(("__", "parent.pth"))}
    assert {name for name in installed if "-" not in name} == {"mnqcore", "mnqplugins", "mnq_patience", "mnq_broken"}
    assert (site / "mnqcore" / "py.typed").is_file()
    assert (site / "mnqplugins" / "py.typed").is_file()
    assert (site / "mnqcore" / "market" / "instruments.toml").is_file()


def test_the_outside_plugin_is_listed_and_the_broken_one_reported(clean):
    document = json.loads(mnq(clean, "plugins", "--load", "--format", "json").stdout)

    mine = {row["kind"]: row for row in document["plugins"] if row["distribution"] == "mnq-patience"}
    assert {kind: row["name"] for kind, row in mine.items()} == {
        "reward": "patience",
        "sizer": "grow",
        "features": "efficiency",
        "bracket": "room",
        "extractor": "fading",
    }
    assert {row["status"] for row in mine.values()} == {"ok"}
    (broken,) = (broken for broken in document["broken"] if broken["distribution"] == "mnq-broken")
    assert (broken["version"], broken["where"]) == ("0.3", "mnq_broken/__init__.py:1")
    assert broken["reason"] == "ModuleNotFoundError: No module named 'nothing_of_this_name'"


def test_its_parameters_are_listed(clean):
    done = mnq(clean, "list", "reward", "--long")

    assert "reward 'patience' (mnq-patience 0.1.0)" in done.stdout
    assert "cost of a bar in position" in done.stdout
    assert "plugin 'broken' (mnq-broken 0.3) was not loaded" in done.stderr
    assert mnq(clean, "list", "reward", "-p", "no:mnq-broken").stderr == ""


def test_a_strategy_file_uses_it(clean, tmp_path):
    file = tmp_path / "patient.toml"
    file.write_text(STRATEGY)

    done = mnq(clean, "check", file)

    assert "patient" in done.stdout
    file.write_text(STRATEGY.replace("cost = 0.25", "cost = -1.0").replace('"grow"', '"gro"'))
    refused = mnq(clean, "check", file, check=False)
    assert refused.returncode == 3
    assert "did you mean 'grow'?" in refused.stderr
    assert "cost" in refused.stderr


def test_a_backtest_runs_on_its_pieces(clean, tmp_path):
    file = tmp_path / "patient.toml"
    file.write_text(STRATEGY)

    done = mnq(clean, "run", file, "--set", "data.days=20", "--runs-dir", tmp_path / "runs", "--format", "json")

    found = json.loads(done.stdout)
    assert found["metrics"]["trades"]["count"] > 0
    assert found["metrics"]["reward"]["name"] == "patience"
    plugins = found["manifest"]["plugins"]
    assert {key for key, plugin in plugins.items() if plugin["distribution"] == "mnq-patience"} == {
        "features.path", "sizer", "reward",
    }  # fmt: skip
    assert "plugin 'broken' (mnq-broken 0.3) was not loaded" in done.stderr


def test_its_reward_bracket_sizer_and_extractor_train_together_from_toml_alone(clean, tmp_path):
    file = shutil.copy(ROOT / "examples" / "mnq-patience" / "strategies.toml", tmp_path)
    small = ("data.days=15", "agent.timesteps=256", "agent.n_steps=32")
    sets = [word for change in small for word in ("--set", change)]

    done = mnq(
        clean, "run", file, "-s", "learnt", "--stage", "train,backtest", *sets, "--runs-dir", tmp_path / "runs",
        "--format", "json",
    )  # fmt: skip

    found = json.loads(done.stdout)
    assert found["metrics"]["reward"]["name"] == "patience"
    assert found["metrics"]["learning"]["actions"]["bars"] > 0
    plugins = found["manifest"]["plugins"]
    assert {key for key, plugin in plugins.items() if plugin["distribution"] == "mnq-patience"} == {
        "features.path", "sizer", "reward", "bracket", "extractor",
    }  # fmt: skip


def test_a_strategy_file_that_needs_the_broken_one_is_told_why(clean, tmp_path):
    file = tmp_path / "broken.toml"
    file.write_text(STRATEGY.replace('"patience", cost = 0.25', '"broken"'))

    refused = mnq(clean, "check", file, check=False)

    assert refused.returncode in (3, 4)
    assert "nothing_of_this_name" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_examples_own_tests_pass_beside_the_wheel(clean):
    tests = clean.parents[2] / "mnq-patience" / "tests"

    done = call(clean, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests, cwd=tests.parent)

    assert "5 passed" in done.stdout
