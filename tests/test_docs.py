"""The documentation: what it shows is what the program prints, what it names is there, and what is there it names."""

import contextlib
import importlib.machinery
import inspect
import re
import shlex
import types
from pathlib import Path
from typing import Any

import attrs
import click
import pytest
import tomli

import mnqcore
from mnqcore import errors, hookspecs, strategy
from mnqcore.api import KINDS, BarRequest, Entry, ExitReason, MarketView, ObservationSpec, Step, parameters
from mnqcore.cli import COMMANDS, cli, main
from mnqcore.market.instruments import catalogue
from mnqcore.market.store import Manifest
from mnqcore.plugins import load
from mnqcore.rules import Denial

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "examples/*/*.md")
    for path in sorted(ROOT.glob(pattern))
}
EXAMPLES = [path for path in ROOT.glob("examples/*/*") if path.suffix in {".md", ".py", ".toml"}]
FENCE = re.compile(r"^```(\S*)(?: (\S+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FAILING = {"wrong.toml", "path.toml"}
"""Files that a page shows to show their errors."""


@pytest.fixture(scope="module")
def refresh():
    """The script that makes what pages show."""
    loader = importlib.machinery.SourceFileLoader("refresh", str(ROOT / "docs" / "refresh.py"))
    module = types.ModuleType("refresh")
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built_in():
    """The pieces of mnq itself."""
    return [piece for piece in load().registered if piece.distribution == "mnq"]


def text_of(page):
    return PAGES[page].read_text(encoding="utf-8")


def blocks(text, language):
    """Return (file name or "", text) of each fenced block of a language."""
    return [(name, body) for found, name, body in FENCE.findall(text) if found == language]


def prose(text):
    return FENCE.sub("", text)


def named(page):
    """Return all that stands in backticks outside of blocks, word by word."""
    return {word for code in re.findall(r"`([^`]+)`", prose(text_of(page))) for word in re.split(r"[\s,=|]+", code)}


def table_keys(page, column=0):
    """Return what stands in backticks in a column of the page's tables."""
    rows = [line.split("|")[1:] for line in prose(text_of(page)).splitlines() if line.startswith("|")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row[column])}


# What pages show


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_the_program_prints(page, refresh):
    text = text_of(page)

    now = refresh.refreshed(text)

    assert text.splitlines() == now.splitlines(), "run: python docs/refresh.py"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_plain_ascii_and_no_line_of_prose_is_endless(page):
    text = text_of(page)

    assert text.isascii()
    assert [line for line in prose(text).splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_the_readme_opens_with_both_names_and_the_screen():
    first, second = re.split(r"\n\n", text_of("README.md"), maxsplit=2)[:2]

    assert first == "# mnq"
    assert "`mnq`" in second
    assert "`mnqcore`" in second
    assert blocks(text_of("README.md"), "console")[0][1].startswith("$ mnq run strategies.toml -s cross\n")


@pytest.mark.proof
def test_the_readme_shows_what_the_demo_prints_but_for_its_figures(tmp_path, monkeypatch, capsys):
    ((_, body),) = [block for block in blocks(text_of("README.md"), "text") if block[0] == "learn"]
    command, *shown = body.splitlines()
    monkeypatch.chdir(tmp_path)
    arguments = command.removeprefix("$ mnq ").replace("strategies.toml", str(ROOT / "strategies.toml")).split()

    assert main(arguments) == 0

    printed = capsys.readouterr().out.splitlines()
    assert [words(line) for line in printed] == [words(line) for line in shown]


def words(line):
    """A line without its figures, times and hashes, however wide they are: another processor rounds otherwise."""
    return re.sub(r"\s+", " ", re.sub(r"[-+$]*[\d.,]*\d[\w.:,-]*", "#", line))


def test_the_readme_says_how_to_start_with_and_without_make():
    text = text_of("README.md")
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    used = {target for page in PAGES for target in re.findall(r"^make (\w+)|`make (\w+)", text_of(page), re.MULTILINE)}
    assert {"demo", "test"} <= {one or other for one, other in used} <= targets
    assert "py -m venv .venv" in text
    (torch,) = re.findall(r"pip install (torch==\S+) --index-url https://download.pytorch.org/whl/cpu", text)
    assert torch in (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize("page", PAGES)
def test_a_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", prose(text_of(page))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", prose(file.read_text(encoding="utf-8")), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


# Commands


def commands():
    """Yield (where, words, whole) of each command line in pages and examples; `whole` are not just mentioned."""
    for page, path in PAGES.items():
        text = path.read_text(encoding="utf-8")
        for language in ("sh", "bat", "console"):
            for _, body in blocks(text, language):
                for line in body.splitlines():
                    if found := re.match(r"(?:\$ )?(mnq .+)", line):
                        yield page, found[1], True
        for code in re.findall(r"`(mnq [^`]+)`", prose(text)):
            yield page, code.replace("\n", " "), False
    for path in [ROOT / "strategies.toml", *EXAMPLES]:
        for found in re.findall(r"(?:^|:) +(mnq [^#\n]+?)(?:  .*)?$", path.read_text(encoding="utf-8"), re.MULTILINE):
            yield path.relative_to(ROOT).as_posix(), found, True


def parse(words):
    """Parse a command line as `mnq` would, down to the last subcommand, and call nothing."""
    context: Any = None
    command: Any = cli
    name: Any = "mnq"
    while True:
        context = command.make_context(name, words, parent=context)
        rest = [*context._protected_args, *context.args]
        if not isinstance(command, click.Group) or not rest:
            return
        name, command, words = command.resolve_command(context, rest)


def test_every_command_parses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = list(commands())
    assert len(found) > 60
    for where, line, whole in found:
        words = shlex.split(line.partition(" | ")[0].replace("mnq COMMAND", "mnq run"))[1:]
        allowed = () if whole else (click.MissingParameter, click.exceptions.NoArgsIsHelpError)
        try:
            with contextlib.suppress(click.exceptions.Exit, *allowed), contextlib.redirect_stdout(None):
                parse(words)
        except click.ClickException as error:
            pytest.fail(f"{where}: {line}: {error.format_message()}")


def options(command: Any, above=()):
    """Yield (command, spellings of an option) of a command and its subcommands, but those that are taken everywhere."""
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            yield " ".join(above), tuple(option.opts)
    for name in COMMANDS if command is cli else getattr(command, "commands", {}):
        yield from options(command.get_command(None, name), (*above, name))


def test_every_option_is_documented():
    everything = "\n".join(map(text_of, PAGES))

    missing = {
        (command, words)
        for command, words in options(cli)
        if not any(re.search(rf"(?<![\w-]){word}(?![\w-])", everything) for word in words)
    }

    assert missing == set()
    assert {f"mnq {name}" for name in COMMANDS} <= table_keys("docs/runs.md")


def test_the_exit_codes_are_those_of_the_errors():
    rows = re.findall(r"^\| (\d+) +\| (?:`(\w+)`|-) ", text_of("docs/runs.md"), re.MULTILINE)
    tree = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.MnqError)]

    documented = {int(code): name for code, name in rows}

    assert set(documented) == {0, 130} | {one.exit_code for one in tree}
    for one in tree:
        assert documented[one.exit_code] in {base.__name__ for base in one.__mro__}


# Blocks


def whole(text):
    """Make a strategy file of a fragment: keys of a strategy, tables, or a file already."""
    agent = "" if re.search(r"^agent|\nagent|^extends", text) else 'agent = { use = "flat" }\n'
    if "format = " in text:
        return text
    if re.search(r"^\[strategy\.", text, re.MULTILINE):
        return f"format = 1\n{text}"
    if re.search(r"^\[", text, re.MULTILINE):
        return f"format = 1\n{text}\n[strategy.a]\n{agent}"
    return f"format = 1\n[strategy.a]\n{agent}{text}"


def toml_blocks():
    for path in PAGES.values():
        for name, body in blocks(path.read_text(encoding="utf-8"), "toml"):
            if name not in FAILING:
                yield pytest.param(body, id=f"{path.relative_to(ROOT).as_posix()}:{name or body[:20].strip()}")


@pytest.mark.parametrize("body", list(toml_blocks()))
def test_a_toml_block_loads(body, tmp_path, monkeypatch):
    if "[project]" in body or "project.name" in body:
        assert {*tomli.loads(body)["project"]["entry-points"]} == {"mnq"}
        return
    package = ROOT / "examples" / "mnq-patience"
    monkeypatch.syspath_prepend(str(package))
    file = tmp_path / "block.toml"
    file.write_text(whole(body))
    installed = load([str(package / "mnq_patience" / "__init__.py")], environ={"MNQ_LOAD_PLUGINS": ""})

    assert strategy.check(file, installed)


def plugin_blocks():
    for name, body in blocks(text_of("docs/plugins.md") + text_of("README.md"), "python"):
        if name and not name.startswith("bad_"):
            yield pytest.param(name, body, id=name)


RULE = 'format = 1\n[strategy.one]\nagent = { use = "sma-cross" }\n'
MODEL = """
format = 1
[strategy.one]
lookback = 8
data = { use = "synthetic", days = 15 }
features.returns = { use = "returns" }
agent = { use = "ppo", timesteps = 64, n_envs = 2, n_steps = 32 }
"""
OF_MODELS = {"extractor", "executor"}
"""The kinds that are used only where a model is trained."""


@pytest.mark.parametrize(("name", "body"), list(plugin_blocks()))
def test_a_plugin_of_the_pages_runs(name, body, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(body)
    plugins = load([name], environ={"MNQ_LOAD_PLUGINS": ""})
    own = [piece for piece in plugins.registered if piece.distribution.startswith("mnq-local-")]
    learns = any(piece.kind in OF_MODELS or hasattr(piece.load(), "train") for piece in own)
    Path("one.toml").write_text(MODEL if learns else RULE)
    changed: dict[str, Any] = {
        f"{'features.own' if piece.kind == 'features' else piece.kind}.use": piece.name for piece in own
    }

    if "agent.use" in changed and learns:
        changed |= {"agent.timesteps": 128, "agent.n_envs": 2}  # another agent than MODEL's has its own defaults
    if not learns and "data.use" not in changed:
        changed["data.days"] = 6

    result = mnqcore.run("one.toml", stages="train,backtest" if learns else "backtest", set=changed, plugins=plugins)

    assert plugins.broken == []
    told = capsys.readouterr().out
    assert told or {piece.kind for piece in own} - {"executor"}  # an executor leaves no trace in a run
    for piece in own:
        if piece.kind == "executor":
            continue
        key = "features.own" if piece.kind == "features" else piece.kind
        assert result.run.manifest["plugins"][key]["distribution"] == piece.distribution


def test_each_kind_that_can_be_used_is_shown_by_a_plugin():
    code = "".join(body for _, body in blocks(text_of("docs/plugins.md"), "python"))
    hooks = {hook for hook, kind in hookspecs.HOOK_KINDS.items() if kind != "broker"}

    assert hooks <= set(
        re.findall(r"^def (register_\w+)\(register\):\n    register\(\"[\w-]+\", [A-Z]", code, re.MULTILINE)
    )


# Names


def test_every_hook_is_documented_with_its_arguments():
    text = text_of("docs/hooks.md")
    specs = [(name, value) for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")]

    assert len(specs) == 13
    for name, spec in specs:
        head = f"## `{name}({', '.join(inspect.signature(spec).parameters)})`\n"
        section = text.partition(head)[2].partition("\n## ")[0]
        assert f"def {name}(" in section
        assert re.search(r"\(\.\./examples/one-file/\w+\.py\)", section)
        kind = hookspecs.HOOK_KINDS.get(name)
        assert ("A class of kind " in section) == (kind is not None)
        assert kind is None or f"A class of kind `{kind}`." in section


def test_every_built_in_piece_and_parameter_is_documented(built_in):
    sections = dict(
        re.findall(r"^### (\w+: [\w-]+)\n(.*?)(?=^##|\Z)", text_of("docs/pieces.md"), re.DOTALL | re.MULTILINE)
    )
    kinds = re.findall(r"^## (\w+)$", text_of("docs/pieces.md"), re.MULTILINE)

    assert [kind for kind in kinds if kind in KINDS] == list(KINDS)
    assert set(sections) == {f"{piece.kind}: {piece.name}" for piece in built_in}
    for piece in built_in:
        for parameter in parameters(piece.load()):
            assert f"| `{parameter}` " in sections[f"{piece.kind}: {piece.name}"]


def test_every_key_of_a_strategy_file_is_documented():
    from mnqcore.strategy import settings
    from mnqcore.strategy.build import KEYS

    keys = table_keys("docs/strategy-file.md")
    tables = (
        *settings.TABLES.values(),
        *settings.SPLITS.values(),
        settings.Commission,
        settings.Plain,
        mnqcore.Instrument,
    )

    expected = {name for cls in tables for name in parameters(cls)} - {"name"}
    many = {"features", "feeds"}
    assert expected | (set(KEYS) - many) | {f"{key}.NAME" for key in many} <= keys
    assert {"extends", "format", "requires"} <= keys
    assert set(parameters(settings.FeedPlain)) <= table_keys("docs/feeds.md")
    assert set(settings.LATER) <= named("docs/strategy-file.md")


@pytest.mark.parametrize("cls", [Step, Entry, MarketView, BarRequest, ObservationSpec])
def test_every_field_of_what_pieces_receive_is_documented(cls):
    fields = {field.name for field in attrs.fields(cls)}

    assert fields <= table_keys("docs/plugins.md")


def test_every_public_name_exists_that_a_page_imports():
    for page in PAGES:
        for names in re.findall(r"^from mnqcore import (.+)$", text_of(page), re.MULTILINE):
            assert {name.strip() for name in names.split(",")} <= set(mnqcore.__all__)


def test_every_reason_is_documented():
    keys = table_keys("docs/simulator.md")

    assert {reason.label for reason in Denial if reason} | {reason.label for reason in ExitReason} <= keys
    assert {f"`{reason.label}`" for reason in ExitReason} == set(
        re.findall(
            rf"^\| (`[\w-]+`) +\| (?:{'|'.join(str(int(reason)) for reason in ExitReason)}) \|",
            text_of("docs/simulator.md"),
            re.MULTILINE,
        )
    )


def test_every_figure_column_and_file_of_a_run_is_documented(tmp_path):
    changes = {"data.days": 12, "reward.use": "trade-pnl", "risk.max_loss": 9000}
    result = mnqcore.run(ROOT / "strategies.toml", "cross", set=changes, runs_dir=tmp_path)
    metrics, figures = result.metrics, named("docs/metrics.md")

    groups = ("trades", "costs", "excursions", "stops", "reward")
    expected = {*metrics, *(name for group in groups for name in metrics[group])} - {"baselines", "counts"}
    expected |= {f"counts.{name}" for name in metrics["counts"]} | {
        f"baselines.{name}" for name in metrics["baselines"]
    }
    expected |= {*metrics["baselines"]["flat"], *metrics["baselines"]["random"], *metrics["by_side"]["long"]}
    assert expected - figures == set()
    assert {*result.trades.columns} <= table_keys("docs/simulator.md")
    files = {path.name for path in result.run.path.iterdir()}
    assert files <= table_keys("docs/runs.md")


def test_every_part_of_a_manifest_and_every_instrument_is_documented():
    assert {field.name for field in attrs.fields(Manifest)} - {"format"} <= named("docs/data.md")
    assert set(catalogue()) <= table_keys("docs/data.md")


def test_the_changelog_has_this_version():
    version = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert f"## [{version}]" in text_of("CHANGELOG.md")
    assert "### Rules that may surprise" in text_of("CHANGELOG.md")
