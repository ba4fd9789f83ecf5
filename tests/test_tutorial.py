"""The tutorial, typed into a clean environment with the built wheel of mnq: each command does as the page says."""

import os
import re
import shlex

import pytest

from tests.clean import call, environment
from tests.test_docs import blocks, refresh, text_of, words  # noqa: F401 - `refresh` is a fixture


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The python of an environment of its own."""
    return environment(tmp_path_factory.mktemp("tutorial"), [])


@pytest.fixture
def desk(clean, tmp_path):
    """Run a line as a shell would in an empty folder: desk("mnq plugins | grep x") returns what it printed."""
    (tmp_path / "mine").mkdir()

    def run(line, check=True):
        path = os.pathsep.join([str(clean.parent), os.environ["PATH"]])
        return call(*shlex.split(line), cwd=tmp_path / "mine", check=check, PATH=path, PIP_NO_INDEX="1")

    yield run
    installed = [one for one in PIECES if one in call(clean, "-m", "pip", "list", cwd=tmp_path).stdout]
    if installed:
        call(clean, "-m", "pip", "uninstall", "--yes", *installed, cwd=tmp_path)


PIECES = ("mnq-patience", "mnq-place", "mnq-row")


def first_console():
    """What the page types before all else: it makes the strategy."""
    return re.findall(r"^\$ (mnq new strategy .+)$", text_of("docs/tutorial.md"), re.MULTILINE)[0]


def chain():
    """The commands from a new package to a run, as the page has them."""
    return blocks(text_of("docs/tutorial.md"), "sh")[0][1].splitlines()


def screens():
    """(command, what it shows) of each command typed into the clean environment."""
    shown = "".join(body for name, body in blocks(text_of("docs/tutorial.md"), "text") if name == "tutorial")
    return [
        (one.partition("\n")[0], one.partition("\n")[2].splitlines())
        for one in re.split(r"^\$ ", shown, flags=re.M)[1:]
    ]


def test_the_package_way_prints_what_the_page_shows(desk, refresh):  # noqa: F811
    desk(first_console())
    assert len(screens()) > 5
    for line, shown in screens():
        command, *filters = line.split(" | ")
        printed = desk(command).stdout.splitlines()
        for one in filters:
            printed = refresh.filtered(printed, *shlex.split(one))
        assert [words(text) for text in printed] == [words(text) for text in shown], line


def test_from_nothing_to_a_proven_package_as_typed(desk):
    desk(first_console())
    new, check, run = chain()
    assert new == "mnq new reward patience"
    assert check == "mnq plugins check patience"
    assert run.startswith("mnq run mine.toml --set reward.use=patience --stage train,backtest")

    desk(new)
    proven = desk(check)
    done = desk(run)

    assert "FAIL" not in proven.stdout
    assert "reward patience" in done.stdout


def test_the_scaffolds_tests_pass_as_they_are_written(desk, clean):
    desk("mnq new reward patience")

    done = desk(f"{shlex.quote(str(clean))} -m pytest -q -p no:cacheprovider mnq-patience", check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_an_edit_of_a_new_package_counts_at_once(desk, tmp_path):
    desk("mnq new sizer half-size")
    module = tmp_path / "mine" / "mnq-half-size" / "mnq_half_size.py"
    module.write_text(module.read_text().replace("One contract for every", "Two contracts for every"))

    try:
        assert "Two contracts for every" in desk("mnq list sizer --long").stdout
        refused = desk("mnq new sizer half-size --dir elsewhere", check=False)
        assert refused.returncode == 2
        assert "sizer 'half-size' (mnq-half-size 0.1.0) is installed already" in refused.stderr
        assert "distribution mnq-half-size 0.1.0 is installed" in desk("mnq new reward half-size", check=False).stderr
        assert not (tmp_path / "mine" / "elsewhere").exists()
    finally:
        desk("python -m pip uninstall --yes mnq-half-size")


def test_plugins_install_is_pip_of_this_environment(desk):
    desk("mnq new agent wander --no-install")
    assert "wander" not in desk("mnq list agent").stdout

    try:
        desk("mnq plugins install --editable --upgrade mnq-wander", check=False)
        missing = desk("mnq plugins install mnq-nowhere-to-be-found", check=False)
        assert missing.returncode == 4
        assert "pip could not install it" in missing.stderr
    finally:
        desk("python -m pip uninstall --yes mnq-wander")
