"""The hook specs are the manual: each is documented, shown by an example that loads, and called."""

import importlib
import inspect
import textwrap

import pytest

import mnqcore
from mnqcore import hookspecs
from mnqcore.api import KINDS
from mnqcore.hookspecs import HOOK_KINDS, OBSERVERS
from mnqcore.plugins import load

HOOKS = [*HOOK_KINDS, *OBSERVERS]
EVENTS = {
    "run_started": ("the run",),
    "trade_closed": ("the run", {"reason": "stop", "net": -1.0}),
    "alert": ("the run", "warning", "look"),
    "run_finished": ("the run", "the result"),
}


def example(hook):
    return textwrap.dedent(inspect.cleandoc(getattr(hookspecs, hook).__doc__).partition("Example:\n")[2])


def test_every_spec_is_listed_and_every_kind_has_one():
    specs = [name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")]

    assert sorted(specs) == sorted(HOOKS)
    assert sorted(HOOK_KINDS.values()) == sorted(KINDS)


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_is_for_in_one_sentence(hook):
    first = getattr(hookspecs, hook).__doc__.partition("\n")[0]

    assert first.endswith(".")
    assert len(first) > 20


@pytest.mark.parametrize("hook", HOOK_KINDS)
def test_every_example_of_a_register_hook_loads(hook, tmp_path):
    file = tmp_path / "example.py"
    file.write_text(f"from mnqcore import hookimpl\n{example(hook)}")

    plugins = load([str(file)])

    assert plugins.broken == []
    assert [piece.kind for piece in plugins.registered if piece.distribution == "mnq-local-example"] == [
        HOOK_KINDS[hook]
    ]


@pytest.mark.parametrize("hook", OBSERVERS)
def test_every_example_of_an_observer_is_called(hook, tmp_path, capsys):
    file = tmp_path / "example.py"
    text = example(hook).replace("result.metrics", "result")
    file.write_text(f"from mnqcore import hookimpl\n{text}")

    plugins = load([str(file)])
    getattr(plugins, hook)(*EVENTS[hook])

    assert plugins.broken == []
    assert plugins.observed == {hook}
    assert capsys.readouterr().out != ""


def test_public_names_are_sorted_importable_and_typed():
    assert mnqcore.__all__ == sorted(mnqcore.__all__)
    for name in mnqcore.__all__:
        found = getattr(mnqcore, name)
        home = found.__name__ if inspect.ismodule(found) else found.__module__
        assert home.startswith("mnqcore") or name == "hookimpl"
    assert set(mnqcore.__all__) <= set(dir(mnqcore))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mnqcore.nothing  # noqa: B018


def test_markers_belong_to_the_project():
    assert importlib.import_module("mnqcore").hookimpl.project_name == "mnq"
