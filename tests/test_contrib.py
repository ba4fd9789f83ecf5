"""Each package in contrib, as a wheel beside the built mnq in a clean environment."""

import json
import shutil
from pathlib import Path

import pytest

from tests.clean import ROOT, call, environment, has, mnq

LIBRARIES = {"mnq-ray": "ray", "mnq-sb3-contrib": "sb3_contrib", "mnq-talib": "talib"}
"""Package in contrib -> the library that it makes use of."""
PIECES = {
    ("executor", "ray"): "mnq-ray",
    ("agent", "recurrent-ppo"): "mnq-sb3-contrib",
    ("agent", "maskable-ppo"): "mnq-sb3-contrib",
    ("features", "talib"): "mnq-talib",
}
MINE = [pytest.param(*piece, id=piece[1]) for piece in PIECES]
STRATEGY = """
format = 1
[strategy.rule]
data = { use = "synthetic", days = 20 }
features.ta = { use = "talib", columns = ["rsi_14", "ema_dist_20"] }
agent = { use = "sma-cross", fast = 20, slow = 50 }
"""


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrib")
    copies = [shutil.copytree(ROOT / "contrib" / name, folder / name) for name in LIBRARIES]
    return environment(folder, copies, LIBRARIES.values())


def needs(*packages):
    lacking = [LIBRARIES[name] for name in packages if not has(LIBRARIES[name])]
    return pytest.mark.skipif(bool(lacking), reason=f"{', '.join(lacking)}: not installed here")


def test_none_is_forgotten_here():
    assert {path.parent.name for path in (ROOT / "contrib").glob("*/pyproject.toml")} == set(LIBRARIES)


def test_each_is_listed_with_its_pieces(clean):
    """Without its library, too: a piece imports it when it is used."""
    document = json.loads(mnq(clean, "plugins", "--load", "--format", "json").stdout)

    theirs = [row for row in document["plugins"] if row["distribution"] in LIBRARIES]
    assert {(row["kind"], row["name"]): row["distribution"] for row in theirs} == PIECES
    assert {row["status"] for row in theirs} == {"ok"}
    assert document["broken"] == []


@pytest.mark.parametrize(("kind", "name"), MINE)
def test_the_parameters_of_each_piece_are_listed(clean, kind, name):
    done = mnq(clean, "list", kind, "--long")

    assert f"{kind} '{name}' ({PIECES[kind, name]} 0.1.0)" in done.stdout
    assert done.stderr == ""


@needs("mnq-talib")
def test_a_rule_runs_with_talib(clean, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text(STRATEGY)

    found = json.loads(mnq(clean, "run", file, "--runs-dir", tmp_path, "--format", "json").stdout)

    assert found["metrics"]["trades"]["count"] > 0
    assert found["manifest"]["plugins"]["features.ta"]["distribution"] == "mnq-talib"


@pytest.mark.parametrize(
    "package",
    [
        pytest.param("mnq-talib", marks=needs("mnq-talib")),
        pytest.param("mnq-sb3-contrib", marks=needs("mnq-sb3-contrib")),
        pytest.param("mnq-ray", marks=[needs("mnq-ray"), pytest.mark.proof]),
    ],
)
def test_its_own_tests_pass(clean, package):
    """Those of mnq-sb3-contrib and mnq-ray run strategies of their own."""
    tests = clean.parents[2] / package / "tests"

    done = call(clean, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", tests, cwd=tests.parent)

    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.skipif(not has("mnqcore.testing.contract"), reason="there is no kit yet")
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, id=name, marks=[needs(package), *([pytest.mark.proof] if name == "ray" else [])])
        for (kind, name), package in PIECES.items()
    ],
)
def test_each_piece_keeps_its_contract(clean, kind, name):
    done = mnq(clean, "plugins", "check", name)

    assert done.returncode == 0


def test_no_package_names_what_is_not_public():
    """What a package outside may import: names of mnqcore itself."""
    for file in Path(ROOT, "contrib").glob("*/mnq_*/*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if "mnqcore." in line.partition("import")[0] or "mnqplugins" in line] == [], file
