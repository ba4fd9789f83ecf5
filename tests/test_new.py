"""What `mnq new` and `mnq init` write works as it stands, and nothing is ever written over or left half-written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tomli

import mnqcore
from mnqcore import strategy
from mnqcore.cli import main
from mnqcore.cli.new import KINDS, package_files
from mnqcore.hookspecs import HOOK_KINDS
from mnqcore.plugins import load

LEARNS = """
format = 1
[strategy.one]
lookback = 8
data = { use = "synthetic", days = 15 }
features.returns = { use = "returns" }
agent = { use = "ppo", timesteps = 64, n_envs = 2, n_steps = 32 }
"""
RULE = 'format = 1\n[strategy.one]\ndata.days = 8\nagent = { use = "sma-cross" }\n'


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(kind, name="my-idea"):
    """Write a package, and return its module as a one-file plugin is given, with the plugins that then are there."""
    assert main(["new", kind, name, "--no-install"]) == 0
    module = Path(f"mnq-{name}") / f"mnq_{name.replace('-', '_')}.py"
    return load([str(module)], environ={"MNQ_LOAD_PLUGINS": ""})


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_a_module_with_one_piece_a_test_and_packaging(kind, here, capsys):
    plugins = made(kind)

    files = {path.relative_to(here).as_posix() for path in here.rglob("*") if path.is_file()}
    assert files == {f"mnq-my-idea/{name}" for name in package_files(kind, "my-idea")}
    assert capsys.readouterr().out.splitlines() == [
        *(f"wrote      mnq-my-idea/{name}" for name in package_files(kind, "my-idea")),
        "next       mnq plugins install -e mnq-my-idea",
    ]
    own = [piece for piece in plugins.registered if piece.distribution != "mnq"]
    assert [(piece.kind, piece.name) for piece in own] == [(kind, "my-idea")]
    assert plugins.broken == []
    assert own[0].load().__name__ == "MyIdea"
    project = tomli.loads(Path("mnq-my-idea/pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"mnq": {"my-idea": "mnq_my_idea"}}
    assert project["dependencies"] == [f"mnq>={mnqcore.__version__}"]
    test = Path("mnq-my-idea/tests/test_my_idea.py").read_text().split("\n\n")
    assert test == ["from mnqcore.testing import contract", f'TestMyIdea = contract("{kind}", "my-idea")\n']


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "broker"])  # of which a session has its own test
def test_a_piece_of_a_package_runs(kind, here):
    plugins = made(kind)
    Path("s.toml").write_text(LEARNS if kind == "extractor" else RULE)
    changed = {f"{'features.own' if kind == 'features' else kind}.use": "my-idea"}
    changed |= {"data.last": "2025-01-15"} if kind == "data" else {}
    text = Path("s.toml").read_text()
    Path("s.toml").write_text(text.replace("data.days = 8\n", "") if kind == "data" else text)

    result = mnqcore.run(
        "s.toml", stages="train,backtest" if kind == "extractor" else "backtest", set=changed, plugins=plugins
    )

    key = "features.own" if kind == "features" else kind
    assert result.run.manifest["plugins"][key]["distribution"] == "mnq-local-mnq-my-idea"


def test_a_reward_takes_ten_lines_of_python_and_six_of_toml():
    files = package_files("reward", "patience")

    lines = {name: [line for line in text.splitlines() if line.strip()] for name, text in files.items()}
    assert len(lines["mnq_patience.py"]) <= 10
    assert len(lines["pyproject.toml"]) <= 6


def test_the_tutorial_and_the_pages_show_what_is_written():
    root = Path(__file__).parents[1] / "docs"
    tutorial, plugins = (root.joinpath(name).read_text() for name in ("tutorial.md", "plugins.md"))
    reward, place = package_files("reward", "patience"), package_files("features", "place")

    assert reward["mnq_patience.py"] in tutorial
    assert place["mnq_place.py"] in tutorial
    assert package_files("extractor", "row")["mnq_row.py"] in tutorial
    assert reward["tests/test_patience.py"] in tutorial
    assert reward["pyproject.toml"] in tutorial
    assert reward["pyproject.toml"] in plugins


def test_what_is_written_passes_the_usual_linter(here):
    for kind in KINDS:
        made(kind, f"my-{kind}")

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,W,UP,B", "."],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    formatted = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "--check", "."]
    assert subprocess.run(formatted, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Patience", "lower-case words joined by dashes"),
        ("my_idea", "lower-case words joined by dashes"),
        ("2nd", "lower-case words joined by dashes"),
        ("-x", ""),
        ("..", "lower-case words joined by dashes"),
        ("a/b", "lower-case words joined by dashes"),
        ("class", "a word of Python"),
        ("none", "a word of Python"),
        ("step", "mnqcore.Step"),
        ("trade-pnl", "reward 'trade-pnl' (mnq 0.1.0) is installed already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name, words, here, capsys):
    assert main(["new", "reward", name]) == 2
    assert words in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_an_unknown_kind_is_refused(here, capsys):
    assert main(["new", "rewrd", "x"]) == 2
    assert "'reward'" in capsys.readouterr().err


def test_nothing_is_written_over(here, capsys):
    (here / "mnq-mine").mkdir()
    (here / "mine.toml").write_text("mine")

    assert main(["new", "reward", "mine", "--no-install"]) == 2
    assert main(["new", "strategy", "mine"]) == 2
    (here / "README.md").write_text("mine")
    assert main(["init"]) == 2

    assert capsys.readouterr().err.count("is there already") == 3
    assert {path.name for path in here.rglob("*")} == {"mnq-mine", "mine.toml", "README.md"}
    assert (here / "README.md").read_text() == (here / "mine.toml").read_text() == "mine"


@pytest.mark.parametrize("command", [["new", "sizer", "mine", "--no-install"], ["init", "mine"]])
def test_what_cannot_be_written_whole_is_not_written(command, here, monkeypatch, capsys):
    def full(self, *_arguments, **_more):
        if self.name == "README.md":
            raise OSError(28, "No space left on device")
        return written(self, *_arguments, **_more)

    written = Path.write_text
    monkeypatch.setattr(Path, "write_text", full)

    assert main(command) == 1

    assert "No space left on device" in capsys.readouterr().err
    assert [path for path in here.rglob("*") if path.is_file()] == []


def test_what_pip_cannot_install_stays_whole_and_says_how_to_go_on(here, monkeypatch, capsys):
    monkeypatch.setattr(
        "mnqcore.cli.pip.installing", lambda _options: [sys.executable, "-c", "raise SystemExit('no line')"]
    )

    assert main(["new", "reward", "mine"]) == 4

    err = capsys.readouterr().err
    assert "mnq-mine is written, but pip could not install it" in err
    assert "no line" in err
    assert "mnq plugins install -e mnq-mine" in err
    assert set(package_files("reward", "mine")) == {
        path.relative_to(here / "mnq-mine").as_posix() for path in here.rglob("*.*") if path.is_file()
    }


def test_without_pip_uv_installs_and_without_both_it_is_said(monkeypatch):
    from mnqcore.cli.pip import installing

    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("shutil.which", lambda _name: "/bin/uv")
    assert installing(["x"]) == ["/bin/uv", "pip", "install", "--python", sys.executable, "x"]
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(mnqcore.PluginError, match="pip is not installed"):
        installing(["x"])


@pytest.mark.parametrize("template", ["rule", "learn"])
def test_a_strategy_file_is_whole_and_an_editor_knows_it(template, here, capsys):
    assert main(["new", "strategy", "my-first", "--template", template]) == 0

    text = Path("my-first.toml").read_text()
    assert text.startswith("#:schema ./mnq.schema.json\n")
    (found,) = strategy.check(Path("my-first.toml"), load())
    assert (found.name, found.learns) == ("my-first", template == "learn")
    command = capsys.readouterr().out.splitlines()[-1].removeprefix("next       ")
    assert f"# {command}" in text
    little = ["--set", "data.days=30"] + (
        ["--timesteps", "512", "--set", "agent.n_steps=64"] if template == "learn" else []
    )
    assert main([*command.split()[1:], *little]) == 0


@pytest.mark.parametrize("template", ["rule", "learn"])
def test_a_project_is_ready_to_run(template, here, capsys):
    assert main(["init", "deep/down", "--template", template]) == 0

    out = capsys.readouterr().out.splitlines()
    folder = here / "deep" / "down"
    assert {path.name for path in folder.iterdir()} == {
        "strategies.toml", "mnq.schema.json", "README.md", ".gitignore", "data",
    }  # fmt: skip
    assert json.loads((folder / "mnq.schema.json").read_text())["$schema"]
    assert out[-1].startswith("next   cd deep/down && mnq run strategies.toml")
    assert main(["check", str(folder / "strategies.toml")]) == 0
    assert out[-1].partition("&& ")[2] in (folder / "README.md").read_text()


def test_json_tells_the_same(here, capsys):
    assert main(["new", "reward", "mine", "--no-install", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "mnq.new/1"
    assert found["installed"] is None
    assert found["files"][0] == "mnq-mine/pyproject.toml"

    assert main(["init", "there", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "mnq.init/1"


def test_every_kind_but_executors_has_a_scaffold():
    assert {*KINDS, "executor"} == set(HOOK_KINDS.values())
