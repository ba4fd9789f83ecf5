"""Every strategy that comes with the project runs as it stands, on fewer days, and has something to show."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import tomli

import mnqcore
from mnqcore.cli import main
from mnqcore.plugins import load as load_plugins
from mnqcore.strategy import load

ROOT = Path(__file__).parents[1]
CATALOGUE = ROOT / "strategies.toml"
ONE_FILE = ROOT / "examples" / "one-file"
PATIENCE = ROOT / "examples" / "mnq-patience"

LITTLE = {"agent.timesteps": 512, "agent.n_envs": 2, "agent.n_steps": 32, "agent.batch_size": 64, "agent.rounds": 2}
"""How little a model of the catalogue is trained here."""


def names(file):
    return list(tomli.loads(file.read_text(encoding="utf-8"))["strategy"])


def tried(file, name, folder, *, plugins):
    """The result of a strategy, after what must hold for any."""
    known = load(file, name, plugins)
    fewer = {"data.days": 30} if known.data.use == "synthetic" else {}
    fewer |= {key: few for key, few in LITTLE.items() if key.partition(".")[2] in known.agent.params}
    stages = "train,backtest" if known.learns else "backtest"
    result = mnqcore.run(file, name, stages, fewer, plugins=plugins, runs_dir=folder / "runs")
    balance = known.costs.initial_balance
    assert result.metrics["trades"]["count"] == len(result.trades)
    assert known.learns or len(result.trades) > 0  # so short a training may have learnt to do nothing
    assert len(result.equity) == result.metrics["bars"] > (500 if known.learns else 1_000)
    assert result.equity.iloc[-1] - balance == pytest.approx(result.metrics["net_profit"])
    assert len(result.trades) == 0 or result.metrics["baselines"]["random"]["seeds"] == 100
    assert result.run.manifest["data"]["look_ahead_bars"] == min(5_000, result.run.manifest["data"]["bars"])
    return result


@pytest.mark.parametrize("name", names(CATALOGUE))
def test_a_strategy_of_the_catalogue_runs(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNQ_LOAD_PLUGINS", "")

    result = tried(CATALOGUE, name, tmp_path, plugins=load_plugins())

    assert result.run.manifest["strategy"] == name
    assert main(["runs", "show", str(result.run.path)]) == 0
    out = capsys.readouterr().out
    assert "SYNTHETIC" in out
    assert [line for line in out.splitlines() if len(line) > 80 and not line.startswith(("run", "next"))] == []


def test_each_strategy_of_the_catalogue_says_what_it_is():
    strategies = tomli.loads(CATALOGUE.read_text(encoding="utf-8"))["strategy"]

    assert all(len(strategy["summary"]) > 20 for strategy in strategies.values())


def test_the_features_of_the_catalogue_are_numbers(tmp_path, monkeypatch):
    monkeypatch.setenv("MNQ_LOAD_PLUGINS", "")

    features = tried(CATALOGUE, "features", tmp_path, plugins=load_plugins()).features

    assert {name.partition(".")[0] for name in features} == {"moves", "ta", "clock"}
    assert not features.iloc[1_000:].isna().any().any()
    assert (features.dtypes == "float64").all()


@pytest.mark.parametrize("name", names(ONE_FILE / "strategies.toml"))
def test_an_example_of_one_file_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MNQ_LOAD_PLUGINS", "")
    own = ONE_FILE / f"{name}.py"
    files = [own] if own.is_file() else sorted(ONE_FILE.glob("*.py"))

    result = tried(ONE_FILE / "strategies.toml", name, tmp_path, plugins=load_plugins([*map(str, files)]))

    distributions = {choice["distribution"] for choice in result.run.manifest["plugins"].values()}
    assert name == "pool" or any(one.startswith("mnq-local-") for one in distributions)  # an executor changes no result
    assert len(result.run.plugin_files) == len(files)


def test_each_file_of_the_examples_has_its_strategy():
    files = {path.stem for path in ONE_FILE.glob("*.py")}

    # `together` uses the one, the other is a broker, which needs a source that streams.
    assert files - set(names(ONE_FILE / "strategies.toml")) == {"watch_losses", "refusal"}


@pytest.fixture
def patience_importable(monkeypatch):
    """Make the example package importable, and forget it afterwards."""
    monkeypatch.syspath_prepend(str(PATIENCE))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mnq_patience"]:
        del sys.modules[name]


@pytest.mark.usefixtures("patience_importable")
def test_the_outside_plugin_runs_as_its_readme_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MNQ_LOAD_PLUGINS", "")
    blocks = re.findall(r"```toml\n(.*?)```", (PATIENCE / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "patient.toml").write_text("format = 1\n" + "\n".join(blocks))
    (tmp_path / "beside.py").write_text("from mnq_patience import *\n")
    assert names(tmp_path / "patient.toml") == names(PATIENCE / "strategies.toml") == ["patient", "learnt"]

    result = tried(tmp_path / "patient.toml", "patient", tmp_path, plugins=load_plugins([str(tmp_path / "beside.py")]))

    assert result.metrics["reward"]["name"] == "patience"
    assert set(result.trades["contracts"]) == {1, 2}
    assert isinstance(result.features["path.efficiency_20"], pd.Series)
