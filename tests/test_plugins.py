"""Loading plugins: whatever one does wrong is reported with its name and harms nothing else."""

import pickle
import sys

import pytest

from mnqcore import PluginError
from mnqcore.errors import UsageError
from mnqcore.plugins import load

GOOD = """
from mnqcore import hookimpl, param, plugin

@plugin
class Patience:
    "Waits."
    cost: float = param(0.5, ge=0)

@hookimpl
def register_rewards(register):
    register("patience", Patience)
"""


def outside(plugins):
    return [(piece.kind, piece.name, piece.distribution) for piece in plugins.registered if piece.distribution != "mnq"]


def only_broken(plugins):
    assert len(plugins.broken) == 1
    assert plugins.names("sizer") == load(environ={"MNQ_LOAD_PLUGINS": ""}).names("sizer")
    return plugins.broken[0]


def test_built_ins_come_through_the_same_door():
    plugins = load(environ={"MNQ_LOAD_PLUGINS": ""})

    assert "fixed" in plugins.names("sizer")
    assert {piece.source for piece in plugins.registered} == {"mnq:builtin"}
    assert plugins.find("sizer", "fixed").load().__name__ == "Fixed"


def test_an_installed_plugin_is_found_with_its_distribution(install):
    install("mnq-patience", "0.1", GOOD)

    piece = load().find("reward", "patience")

    assert (piece.distribution, piece.version, piece.source) == ("mnq-patience", "0.1", "mnq-patience:patience")
    assert piece.load()().cost == 0.5


BROKEN = {
    "does not import": ("import nothing_of_this_name\n", "ModuleNotFoundError: No module named 'nothing_of_this", 1),
    "no python": ("def broken(:\n", "SyntaxError: invalid syntax", 1),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3", 2),
    "misspelt hook": (
        GOOD.replace("register_rewards", "register_reward"),
        "unknown hook 'register_reward': did you mean 'register_rewards'?",
        9,
    ),
    "wrong argument": (
        GOOD.replace("(register)", "(registrar)"),
        "hook 'register_rewards' has no argument 'registrar': it has register",
        9,
    ),
    "forgot @hookimpl": (GOOD.replace("@hookimpl", ""), "no hook found in mnq_bad: is @hookimpl missing?", None),
    "wrapper": (
        GOOD.replace("@hookimpl", "@hookimpl(wrapper=True)").replace("    register(", "    yield\n    register("),
        "hook 'register_rewards' is a wrapper: hooks of mnq cannot be wrapped",
        9,
    ),
    "raises": (GOOD + "    1 / 0\n", "ZeroDivisionError: division by zero", 12),
    "bad name": (GOOD.replace('"patience"', '"Patience!"'), "a reward cannot be named 'Patience!'", 11),
    "bad target": (
        GOOD.replace("Patience)", "Patience())"),
        "reward 'patience' must be a class or 'module:Class', was Patience(cost=0.5)",
        11,
    ),
    "bad path": (GOOD.replace("Patience)", '"mnq_bad.Patience")'), "must be a class or 'module:Class', was 'mnq", 11),
    "twice": (GOOD + '    register("patience", Patience)\n', "reward 'patience' is registered twice", 12),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_and_the_rest_works(case, install):
    code, reason, line = BROKEN[case]
    install("mnq-bad", "2.0", code)
    install("mnq-patience", "0.1", GOOD)

    plugins = load()
    broken = only_broken(plugins)

    assert (broken.distribution, broken.version, broken.status) == ("mnq-bad", "2.0", "broken")
    assert broken.reason.startswith(reason) or reason in broken.reason
    assert broken.where == (f"mnq_bad.py:{line}" if line else "")
    assert "-p no:mnq-bad" in broken.hint
    assert outside(plugins) == [("reward", "patience", "mnq-patience")]


def test_a_plugin_that_fails_half_way_leaves_nothing_behind(install):
    code = GOOD + "\n@hookimpl\ndef register_sizers(register):\n    raise RuntimeError('no licence')\n"
    code += "\n@hookimpl\ndef run_started(run):\n    raise AssertionError('called')\n"
    install("mnq-half", "1.0", code)

    plugins = load()
    plugins.run_started("the run")

    assert outside(plugins) == []
    assert plugins.observed == set()
    assert only_broken(plugins).pieces == (("reward", "patience"),)


def test_a_strategy_that_needs_a_broken_plugin_is_told_why(install):
    install("mnq-bad", "2.0", GOOD + "    raise RuntimeError('no licence')\n", entry="x")

    with pytest.raises(PluginError) as caught:
        load().find("reward", "patience")

    assert "plugin mnq-bad 2.0 was not loaded" in caught.value.what
    assert caught.value.facts["why"] == "RuntimeError: no licence"
    assert caught.value.facts["where"] == "mnq_bad.py:12"


def test_a_missing_module_is_told_with_pip(install):
    install("mnq-bad", "2.0", "import nothing_of_this_name.deep\n")

    assert load().broken[0].hint == "pip install nothing_of_this_name, or: -p no:mnq-bad"


@pytest.mark.parametrize("requirement", ["mnq>=99", "mnq<0.0.1", "MNQ [rl] >=99", "mnq=>1"])
def test_a_requirement_on_mnq_that_does_not_fit_refuses_before_import(requirement, install):
    install("mnq-late", "1.0", "raise AssertionError('imported')\n", requires=[requirement, "numpy>=99"])

    broken = only_broken(load())

    assert broken.status.startswith("needs mnq")
    assert "is installed" in broken.reason
    assert "mnq_late" not in sys.modules


@pytest.mark.parametrize("requirement", ["mnq>=0.1", "mnq", "mnq>=99; extra == 'new'", "mnq-orderflow>=99"])
def test_a_requirement_that_fits_or_does_not_apply_loads(requirement, install):
    install("mnq-patience", "1.0", GOOD, requires=[requirement])

    assert load().broken == []


def test_an_unreadable_entry_points_file_harms_only_its_own(install):
    install("mnq-patience", "1.0", GOOD)
    install("mnq-torn", "1.0", "", entry_points="[mnq]\ntorn\n")

    plugins = load()

    assert outside(plugins) == [("reward", "patience", "mnq-patience")]
    assert [(broken.distribution, broken.status) for broken in plugins.broken] == [("mnq-torn", "broken")]
    assert "unreadable" in plugins.broken[0].reason


def test_two_owners_of_a_name_are_both_named_and_the_file_settles_it(install):
    install("mnq-one", "1.0", GOOD)
    install("mnq-two", "2.0", GOOD)
    plugins = load()

    with pytest.raises(PluginError) as caught:
        plugins.find("reward", "patience")

    assert caught.value.what == "reward 'patience' is registered by mnq-one 1.0 and mnq-two 2.0"
    assert 'use = "mnq-two:patience"' in caught.value.facts["next"]
    assert plugins.find("reward", "mnq-two:patience").version == "2.0"
    assert plugins.find("reward", "MNQ_Two:patience").version == "2.0"


def test_one_distribution_cannot_register_a_name_from_two_entry_points(install):
    points = "[mnq]\na = mnq_twice\nb = mnq_again\n"
    install("mnq-twice", "1.0", GOOD, entry_points=points).with_name("mnq_again.py").write_text(GOOD)

    plugins = load()

    assert outside(plugins) == [("reward", "patience", "mnq-twice")]
    assert plugins.broken[0].reason == "reward 'patience' is registered by mnq-twice:a already"


def test_a_built_in_name_is_no_trap_for_an_outside_one(install):
    install("mnq-mine", "1.0", GOOD.replace("register_rewards", "register_sizers").replace('"patience"', '"fixed"'))
    plugins = load()

    with pytest.raises(PluginError, match=r"registered by mnq \S+ and mnq-mine 1\.0"):
        plugins.find("sizer", "fixed")
    assert plugins.find("sizer", "mnq:fixed").load().__name__ == "Fixed"


def test_unknown_names_suggest():
    plugins = load()

    with pytest.raises(PluginError) as missing:
        plugins.find("sizer", "fixd")
    with pytest.raises(UsageError) as kind:
        plugins.names("sizers")

    assert missing.value.what == "no sizer named 'fixd' is installed"
    assert missing.value.facts["next"] == "did you mean 'fixed'? (mnq list sizer)"
    assert "did you mean 'sizer'?" in kind.value.facts["next"]


def test_one_file_is_a_plugin(tmp_path):
    file = tmp_path / "My Rule.py"
    file.write_text(GOOD)

    plugins = load([str(file)])
    piece = plugins.find("reward", "patience")

    assert (piece.distribution, piece.version) == ("mnq-local-my-rule", "0")
    assert plugins.files == (file,)
    assert pickle.loads(pickle.dumps(piece.load()(cost=2.0))).cost == 2.0
    assert load([str(file)]).find("reward", "patience").load() is piece.load()
    assert list(tmp_path.iterdir()) == [file]


def test_an_edited_file_is_read_again(tmp_path):
    file = tmp_path / "rule.py"
    file.write_text(GOOD)
    assert load([str(file)]).find("reward", "patience").load()().cost == 0.5
    file.write_text(GOOD.replace("0.5", "0.7"))

    assert load([str(file)]).find("reward", "patience").load()().cost == 0.7


def test_a_broken_file_is_reported_and_forgotten(tmp_path):
    file = tmp_path / "bad_rule.py"
    file.write_text("x = 1\nraise ValueError('two\\nlines')\n")

    broken = only_broken(load([str(file)]))

    assert (broken.where, broken.reason) == ("bad_rule.py:2", "ValueError: two")
    assert not [name for name in sys.modules if name.startswith("mnq_local_bad_rule")]


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (["./nowhere.py"], "no plugin file ./nowhere.py"),
        (["patience"], "neither a file nor a switch"),
        (["no:mnq-patienc"], "no plugin distribution 'mnq-patienc' is installed"),
        (["no:mnq"], "built-ins cannot be switched off as a whole"),
        (["no:reward/patienc"], "no reward named 'patienc'"),
        (["no:rewards/patience"], "there is no kind 'rewards'"),
    ],
)
def test_switches_that_name_nothing_are_usage_errors(extra, text, install):
    install("mnq-patience", "1.0", GOOD)

    with pytest.raises(UsageError) as caught:
        load(extra)

    assert text in str(caught.value)
    assert "did you mean" in str(caught.value) or "-p" in str(caught.value)


def test_a_distribution_is_switched_off_unimported(install):
    install("mnq-patience", "1.0", "raise AssertionError('imported')\n")

    plugins = load(["no:MNQ_patience"])

    assert (plugins.broken, outside(plugins)) == ([], [])
    assert [(off.distribution, off.by) for off in plugins.disabled] == [("mnq-patience", "-p no:mnq-patience")]
    with pytest.raises(PluginError, match="is switched off"):
        plugins.find("reward", "mnq-patience:patience")


def test_a_piece_is_switched_off():
    plugins = load(["no:sizer/fixed"])

    assert "fixed" not in plugins.names("sizer")
    assert "fixed" in plugins.names("bracket")
    with pytest.raises(PluginError, match="sizer 'fixed' is switched off"):
        plugins.find("sizer", "fixed")


@pytest.mark.parametrize(("value", "expected"), [("", []), ("mnq-one", ["mnq-one"]), ("mnq_one, mnq-two", None)])
def test_the_environment_limits_what_is_loaded(value, expected, install):
    install("mnq-one", "1.0", GOOD)
    install("mnq-two", "1.0", GOOD)

    plugins = load(environ={"MNQ_LOAD_PLUGINS": value})

    assert [owner for _, _, owner in outside(plugins)] == (["mnq-one", "mnq-two"] if expected is None else expected)
    assert "fixed" in plugins.names("sizer")


def test_the_environment_must_name_what_is_installed(install):
    install("mnq-patience", "1.0", GOOD)

    with pytest.raises(UsageError, match="MNQ_LOAD_PLUGINS: no plugin distribution 'mnq-patiance'"):
        load(environ={"MNQ_LOAD_PLUGINS": "mnq-patiance"})


def test_a_class_that_does_not_import_is_told_with_its_line(install):
    code = GOOD.replace("Patience)", '"mnq_slow_pieces:Patience")')
    install("mnq-slow", "1.0", code).with_name("mnq_slow_pieces.py").write_text("import mnq_slow\nimport not_there\n")

    with pytest.raises(PluginError) as caught:
        load().find("reward", "patience").load()

    assert caught.value.what == "reward 'patience' (mnq-slow 1.0) does not import"
    assert caught.value.facts["where"] == "mnq_slow_pieces.py:2"
    assert caught.value.facts["next"] == "pip install not_there, or: -p no:reward/patience"


def test_a_plain_class_is_refused_when_used(install):
    install("mnq-plain", "1.0", GOOD.replace("@plugin", ""))

    with pytest.raises(PluginError, match="is not a class made by @plugin"):
        load().find("reward", "patience").load()


OBSERVER = """
from mnqcore import hookimpl
seen = []

@hookimpl
def trade_closed(trade):
    seen.append(trade["net"])
    {more}

@hookimpl
def alert(message, level):
    seen.append((level, message))
"""


def test_an_observer_that_raises_is_named_after_all_were_told(install):
    install("mnq-bad", "1.2", OBSERVER.format(more="raise KeyError('net')"))
    install("mnq-calm", "1.0", OBSERVER.format(more=""))
    plugins = load()

    with pytest.raises(PluginError) as caught:
        plugins.trade_closed("the run", {"net": 5.0})
    plugins.alert("the run", "warning", "look")

    assert str(caught.value).splitlines() == [
        "plugin 'bad' raised in trade_closed",
        "  where   mnq_bad.py:8",
        "  why     KeyError: 'net'",
        "  who     mnq-bad 1.2",
        "  next    mend it, or: -p no:mnq-bad",
    ]
    assert sys.modules["mnq_calm"].seen == [5.0, ("warning", "look")]


def test_every_load_is_its_own(tmp_path):
    file = tmp_path / "rule.py"
    file.write_text(GOOD)

    load([str(file)])

    assert "patience" not in load().names("reward")
