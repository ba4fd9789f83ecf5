"""The JSON schema says of a strategy file what the checks say, as far as one table by itself can tell."""

import json

import jsonschema
import pytest
import tomli

from mnqcore.plugins import load as load_plugins
from mnqcore.strategy.schema import document

OUTSIDE = """
from mnqcore import hookimpl, param, plugin

@plugin
class Every:
    flag: bool = param(False)
    pair: tuple[int, float] = param((1, 2.0), le=9)
    several: tuple[str, ...] = param(("a",), choices=("a", "b"), help="which", unit="letters")
    maybe: int | None = param(None, gt=0)
    needed: float = param(help="must be given")

@plugin
class Table:
    table: dict[str, int] = param(None)

@hookimpl
def register_agents(register):
    register("every", Every)
    register("table", Table)
    register("gone", "no_such_module_of_mnq:Thing")

@hookimpl
def register_sizers(register):
    register("fixed", Every)
"""
HEAD = "format = 1\n[strategy.a]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "outside.py"
    path.write_text(OUTSIDE)
    return document(load_plugins([str(path)]))


@pytest.fixture(scope="module")
def errors(made):
    jsonschema.Draft7Validator.check_schema(made[0])
    validator = jsonschema.Draft7Validator(json.loads(json.dumps(made[0], allow_nan=False)))
    return lambda text: [
        f"{error.json_path}: {error.message}" for error in validator.iter_errors(tomli.loads(text.replace("\\n", "\n")))
    ]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "agent = { use = 'sma-cross', fast = 20, slow = 50 }",
        HEAD + "agent.use = 'mnq:flat'\nsizer.use = 'mnq:fixed'",
        HEAD + "extends = 'b'\nsummary = 'x'\nbar_size = '5 mins'\nseed = 3",
        HEAD + "bracket = { stop_ticks = 3 }",  # of an inherited `use`
        HEAD + "features.moves = { use = 'returns', horizons = [1] }\nfeatures.clock = { use = 'none' }",
        HEAD + "costs = { initial_balance = 1e4, commission = 0.62 }\nrisk = { max_loss = 5 }",
        HEAD + "costs.commission = { percent = 0.1, minimum = 2 }\nsession = { rth = true, no_entry_after = '15:30' }",
        HEAD + "agent = { use = 'every', pair = [1, 2], several = ['a', 'b'], maybe = 1, needed = 2 }",
        HEAD + "agent = { use = 'gone', anything = 1 }",
        HEAD + "lookback = 7\nsplit = { use = 'walk-forward', folds = 3, anchored = true }\nexecutor.use = 'serial'",
        HEAD + "split = { anchored = true }\nextractor = { use = 'lstm', hidden = 8 }",  # of an inherited `use`
        HEAD + "env = { episode_bars = 9, start_balance_range = [1, 2.5], reward_scale = 2 }",
        HEAD + "env.reward_scale = 'auto'",
        HEAD + "[defaults]\ndata = { use = 'synthetic', market = 'trend' }\n[instrument.OWN]\ntick_size = 1",
    ],
)
def test_good_documents_pass(errors, text):
    assert errors(text) == []


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[strategy.a]", "$", "'format' is a required property"),
        ("format = 2\n[strategy.a]", "$.format", "1 was expected"),
        (HEAD + "colour = 1", "$.strategy.a", "'colour' was unexpected"),
        (HEAD + "sweep = 1", "$.strategy.a", "'sweep' was unexpected"),
        (HEAD + "lookback = 0", "$.strategy.a.lookback", "less than the minimum"),
        (HEAD + "split.use = 'hold-out'", "$.strategy.a.split.use", "is not one of"),
        (HEAD + "split = { use = 'holdout', folds = 2 }", "$.strategy.a.split", "'folds' was unexpected"),
        (HEAD + "split.anchor = true", "$.strategy.a.split", "'anchor' was unexpected"),
        (HEAD + "env.reward_scale = 0", "$.strategy.a.env.reward_scale", "less than or equal to the minimum"),
        (HEAD + "env.reward_scale = 'automatic'", "$.strategy.a.env.reward_scale", "does not match"),
        (HEAD + "env.reward_scale = [1]", "$.strategy.a.env.reward_scale", "is not of type 'number', 'string'"),
        (HEAD + "env.start_balance_range = [1]", "$.strategy.a.env.start_balance_range", "is too short"),
        (HEAD + "extractor = { use = 'lstm', hiden = 3 }", "$.strategy.a.extractor", "'hiden' was unexpected"),
        (HEAD + "executor.use = 'threads'", "$.strategy.a.executor.use", "is not one of"),
        (HEAD + "seed = -1", "$.strategy.a.seed", "less than the minimum"),
        (HEAD + "bar_size = 'long'", "$.strategy.a.bar_size", "does not match"),
        (HEAD + "agent.use = 'sma-cros'", "$.strategy.a.agent.use", "is not one of"),
        (HEAD + "agent = { use = 'sma-cross', fats = 1 }", "$.strategy.a.agent", "'fats' was unexpected"),
        (HEAD + "agent = { use = 'sma-cross', fast = 'x' }", "$.strategy.a.agent.fast", "not of type 'integer'"),
        (HEAD + "agent = { use = 'sma-cross', stop = 3 }", "$.strategy.a.agent", "'stop' was unexpected"),
        (HEAD + "bracket = { use = 'fixed', period = 3 }", "$.strategy.a.bracket", "'period' was unexpected"),
        (HEAD + "bracket = { perod = 3 }", "$.strategy.a.bracket", "'perod' was unexpected"),
        (HEAD + "data.market = 'trnd'\ndata.use = 'synthetic'", "$.strategy.a.data.market", "is not one of"),
        (HEAD + "risk.max_loss = 0", "$.strategy.a.risk.max_loss", "less than or equal to the minimum"),
        (HEAD + "session.no_entry_after = '25:00'", "$.strategy.a.session.no_entry_after", "does not match"),
        (HEAD + "costs.commission = -1", "$.strategy.a.costs.commission", "less than the minimum"),
        (HEAD + "costs.commission.fee = 1", "$.strategy.a.costs.commission", "'fee' was unexpected"),
        (HEAD + "features.x = { use = 'none', a = 1 }", "$.strategy.a.features.x", "'a' was unexpected"),
        (HEAD + "features.'a b'.use = 'clock'", "$.strategy.a.features", "does not match"),
        (HEAD + "agent = { use = 'every', pair = [1] }", "$.strategy.a.agent.pair", "is too short"),
        (HEAD + "agent = { use = 'every', pair = [1, 10] }", "$.strategy.a.agent.pair[1]", "greater than the maximum"),
        (HEAD + "agent = { use = 'every', several = ['c'] }", "$.strategy.a.agent.several[0]", "is not one of"),
        (HEAD + "sizer.use = 'fixed'", "$.strategy.a.sizer.use", "is not one of"),  # two own it
        (HEAD + "[defaults]\nextends = 'a'", "$.defaults", "'extends' was unexpected"),
        (HEAD + "[instrument.OWN]\nname = 'x'", "$.instrument.OWN", "'name' was unexpected"),
    ],
)
def test_bad_documents_fail_at_the_place(errors, text, where, what):
    found = errors(text)

    assert len(found) == 1, found
    assert found[0].startswith(f"{where}: ")
    assert what in found[0]


def test_parameters_carry_help_unit_range_and_default(made):
    chain = made[0]["definitions"]["agent"]
    while chain["if"]["properties"]["use"]["enum"][0] != "every":
        chain = chain["else"]
    fields = chain["then"]["properties"]

    assert fields["several"] == {
        "type": "array",
        "items": {"type": "string", "enum": ["a", "b"]},
        "description": "which (letters)",
        "default": ["a"],
    }
    assert fields["maybe"] == {"type": "integer", "exclusiveMinimum": 0, "description": ""}
    assert "default" not in fields["needed"]


def test_pieces_that_do_not_load_are_told(made):
    assert len(made[1]) == 2
    assert "no_such_module_of_mnq" in made[1][0] + made[1][1]
    assert "which no file can hold" in made[1][0] + made[1][1]


def test_the_catalogue_at_the_root_fits_its_schema(request):
    root = request.config.rootpath
    found, broken = document(load_plugins(environ={"MNQ_LOAD_PLUGINS": ""}))

    assert broken == []
    jsonschema.Draft7Validator(found).validate(tomli.loads((root / "strategies.toml").read_text(encoding="utf-8")))
