"""Rewrites what the pages show of the program: tables made of its code, and what its commands print.

    python docs/refresh.py

The tests fail where a page is not what this writes. It looks for three things in a page:

    <!-- made: NAME --> ... <!-- end -->   one of TABLES
    ```console                             commands after "$ ", each followed by what it prints
    ```toml FILE, ```python FILE           a file that later commands of the page find

Other blocks of Python are run where they stand, but for the examples of hooks.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnqcore.api.parameters import Parameter

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

_MADE = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_BLOCK = re.compile(r"^```(console|python|(?:python|toml) \S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIES = (
    (r"\d{8}T\d{6}Z", "TIME"),
    (r"\s+\d+\.\d+ s \(kernel \d+\.\d+ ms\)", " SECONDS"),
    (r"imported \d{4}-\d\d-\d\d", "imported DATE"),
    (r"(wrote .* sha) [0-9a-f]{8}", r"\1 SHA"),
    (r"(mnq_local_\w+_)[0-9a-f]{12}", r"\1HASH"),
    (r"\([0-9a-f]{8}-\d+\)", "(REF)"),
)
"""What is another each time that a command runs -> what it counts as."""


# ----------------------------------------------------------------------------------------------------------------------
# Tables made of the code
# ----------------------------------------------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table whose columns stand one below the other in the text, too; the last one is ragged."""
    cells = [header, *rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header) - 1)] + [0]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in cells]
    widths[-1] = len(header[-1])
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]


def _parameters(cls: type, omit: Sequence[str] = ()) -> list[str]:
    """Return the table of a class made of `param()` fields."""
    from mnqcore.api.parameters import parameters

    rows = [_row(name, one) for name, one in parameters(cls).items() if name not in omit]
    return _table(("key", "type", "default", "range", "unit", "what it is"), rows) if rows else ["No parameters."]


def _row(name: str, one: Parameter) -> tuple[str, ...]:
    from mnqcore.cli.list import toml_text, type_text
    from mnqcore.strategy.settings import Commission

    default = "required" if one.required else "-" if one.default is None else toml_text(one.default)
    kind = type_text(one.type)
    if one.type is Commission:
        kind, default = "float or table", f"{one.default.per_contract}"
    shown = default if len(default) <= 40 else "see the text"
    return f"`{name}`", kind, shown, _range(one), one.unit or "-", one.help


def _range(one: Parameter) -> str:
    if one.choices is not None:
        return ", ".join(map(str, one.choices))
    bounds = ((">=", one.ge), (">", one.gt), ("<=", one.le), ("<", one.lt))
    return ", ".join(f"{sign} {bound:,.10g}" for sign, bound in bounds if bound is not None) or "-"


def _settings(name: str) -> Callable[[], list[str]]:
    def made() -> list[str]:
        from mnqcore.strategy import settings, trade

        return _parameters(getattr(settings, name, None) or getattr(trade, name))

    return made


def _instrument_keys() -> list[str]:
    from mnqcore.market.instruments import Instrument

    return _parameters(Instrument, omit=["name"])


def _instruments() -> list[str]:
    from mnqcore.market.instruments import catalogue

    rows = [
        (f"`{one.name}`", f"{one.tick_size:f}".rstrip("0").rstrip("."), f"{one.tick_value:g}", f"{one.margin:,.0f}",
         one.calendar, f"{one.cash_open}-{one.cash_close}", one.expiry)
        for one in catalogue().values()
    ]  # fmt: skip
    return _table(("name", "tick size", "tick value", "margin", "calendar", "cash session", "expiry"), rows)


def _pieces() -> list[str]:
    """Return every built-in piece by kind: what it is, and its parameters."""
    from mnqcore.api.contracts import KINDS
    from mnqcore.plugins import load

    found = [piece for piece in load(environ={"MNQ_LOAD_PLUGINS": ""}).registered if piece.distribution == "mnq"]
    lines: list[str] = []
    for kind in KINDS:
        own = [piece for piece in found if piece.kind == kind]
        lines += [f"## {kind}", "", *([] if own else ["None is built in yet.", ""])]
        for piece in own:
            cls = piece.load()
            lines += [f"### {kind}: {piece.name}", "", inspect.cleandoc(cls.__doc__ or ""), "", *_parameters(cls), ""]
    return lines[:-1]


def _indicators() -> list[str]:
    from mnqplugins.features.technical import INDICATORS, Technical

    rows = [
        (f"`{one.example}`", one.meaning, str(Technical(columns=(one.example,)).warmup)) for one in INDICATORS.values()
    ]
    return _table(("column", "what it is", "warm-up in bars"), rows)


def _exit_codes() -> list[str]:
    from mnqcore import errors

    known = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.MnqError)]
    first = {cls.exit_code: cls for cls in reversed(known)}
    rows = [("0", "-", "Done.")]
    rows += [
        (str(code), f"`{first[code].__name__}`", (first[code].__doc__ or "").partition("\n")[0])
        for code in sorted(first)
        if code != errors.MnqError.exit_code
    ]
    rows.insert(1, ("1", "`MnqError`", "The run or the check failed; also a bug of mnq."))
    rows.append(("130", "-", "Interrupted."))
    return _table(("code", "error", "meaning"), rows)


def _commands() -> list[str]:
    from mnqcore.cli import COMMANDS

    return _table(("command", "what it does"), [(f"`mnq {name}`", text) for name, (_, text) in COMMANDS.items()])


def _faults() -> list[str]:
    from mnqcore.market.checks import KINDS

    return _table(
        ("fault", "weight", "what is counted"),
        [(f"`{kind}`", "FATAL" if fatal else "warn", text) for kind, (fatal, text) in KINDS.items()],
    )


def _controls() -> list[str]:
    from mnqcore.trading.controls import LISTED

    rows = [
        (one.rule, one.kind, f"`{one.code}`", f"`{one.key}`" if one.key else "-", one.default, one.acts, one.what)
        for one in LISTED
    ]
    return _table(("id", "kind", "code", "key", "default", "what it does", "what it looks at"), rows)


def _hooks() -> list[str]:
    """Return a section for every hook: its arguments, docstring, contract, example, and the example in full."""
    from mnqcore import hookspecs

    lines: list[str] = []
    for name in (*hookspecs.HOOK_KINDS, *hookspecs.OBSERVERS):
        spec = getattr(hookspecs, name)
        text, _, example = inspect.cleandoc(spec.__doc__).partition("\n\nExample:\n")
        arguments = ", ".join(inspect.signature(spec).parameters)
        lines += [f"## `{name}({arguments})`", "", text, "", *_contract(hookspecs.HOOK_KINDS.get(name)), "```python"]
        lines += [textwrap.dedent(example).strip(), "```", "", f"In full: {_examples(name)}.", ""]
    return lines[:-1]


def _contract(kind: str | None) -> list[str]:
    """Return what a piece of a kind has to have: each of its methods with its arguments; nothing for an observer."""
    from mnqcore.api import contracts, port

    named = {
        "data": [contracts.DataSource], "features": [contracts.FeatureSet], "reward": [contracts.Reward],
        "bracket": [contracts.Bracket], "sizer": [contracts.Sizer], "extractor": [contracts.Extractor],
        "agent": [contracts.Agent, contracts.Learner], "broker": [port.Broker], "executor": [contracts.Executor],
    }  # fmt: skip
    lines: list[str] = []
    for contract in named[kind] if kind else ():
        lines += [*textwrap.wrap(f"A class of kind `{kind}`. {_first(contract)}", 118), ""]
        own = {name: one for name, one in vars(contract).items() if _is_own(name, one)}
        rows = [(f"`{_signature(name, one)}`", _first(one)) for name, one in own.items()]
        lines += [*_table(("it has", "what that does"), rows), ""]
    return lines


def _is_own(name: str, one: object) -> bool:
    return isinstance(one, property) or (inspect.isfunction(one) and (name[0] != "_" or name == "__call__"))


def _signature(name: str, one: object) -> str:
    if isinstance(one, property):
        return name
    arguments = ", ".join([*inspect.signature(one).parameters][1:])  # type: ignore[arg-type]
    return f"{'async ' if inspect.iscoroutinefunction(one) else ''}{name}({arguments})"


def _first(one: object) -> str:
    return " ".join(inspect.cleandoc(one.__doc__ or "").partition("\n\n")[0].split())


def _examples(hook: str) -> str:
    """Return links to the examples of a hook; there must be one."""
    found = [path for path in sorted(ROOT.glob("examples/one-file/*.py")) if f"def {hook}(" in path.read_text("utf-8")]
    if not found:
        raise ValueError(f"no file of examples/one-file shows {hook}")
    return ", ".join(f"[{path.name}](../{path.relative_to(ROOT).as_posix()})" for path in found)


def _markets() -> list[str]:
    from mnqcore.testing.market import SHAPES

    return _table(("market", "what is in it"), [(f"`{name}`", text) for name, text in SHAPES.items()])


def _checks() -> list[str]:
    """Return every check of the conformance kit: its kinds and its rule."""
    from mnqcore.api.contracts import KINDS
    from mnqcore.testing.checks import CHECKS

    rows = [
        (f"`{one.name}`", "all" if one.kinds == KINDS else ", ".join(one.kinds),
         one.rule + (" A note, no failure." if one.advisory else ""))
        for one in CHECKS
    ]  # fmt: skip
    return _table(("check", "kinds", "rule"), rows)


TABLES: dict[str, Callable[[], list[str]]] = {
    "checks": _checks,
    "commands": _commands,
    "controls": _controls,
    "exit codes": _exit_codes,
    "faults": _faults,
    "hooks": _hooks,
    "indicators": _indicators,
    "instrument keys": _instrument_keys,
    "instruments": _instruments,
    "markets": _markets,
    "pieces": _pieces,
    "settings commission": _settings("Commission"),
    "settings costs": _settings("Costs"),
    "settings env": _settings("Env"),
    "settings feed": _settings("FeedPlain"),
    "settings heartbeat": _settings("Beat"),
    "settings holdout": _settings("Holdout"),
    "settings limits": _settings("Limits"),
    "settings log": _settings("Log"),
    "settings plain": _settings("Plain"),
    "settings risk": _settings("Risk"),
    "settings session": _settings("Session"),
    "settings trade": _settings("TradePlain"),
    "settings walk-forward": _settings("WalkForward"),
    "settings webhook": _settings("Webhook"),
}
"""Name in a page -> what makes its lines."""


# ----------------------------------------------------------------------------------------------------------------------
# What commands print
# ----------------------------------------------------------------------------------------------------------------------


@attrs.define
class Desk:
    """A folder with the catalogue of strategies, the examples and a file of prices, in which commands run."""

    folder: Path
    code: int = 0

    def prints(self, command: str) -> str:
        """Return what a command prints on both streams, also behind `| head -N` and `| grep TEXT`.

        `echo $?` tells the last exit code.
        """
        if command == "echo $?":
            return f"{self.code}\n"
        command, *filters = command.split(" | ")
        program, *arguments = shlex.split(command)
        if program != "mnq":
            raise ValueError(f"only mnq can be run in a console block, was {command!r}")
        from mnqcore.cli import main

        text = io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text), contextlib.chdir(self.folder):
            self.code = main(arguments)
        here = f"{self.folder.resolve()}{os.sep}"  # it is another each time
        lines = [line.rstrip().replace(here, "") for line in text.getvalue().splitlines()]
        for one in filters:
            lines = filtered(lines, *shlex.split(one))
        return "".join(f"{line}\n" for line in lines)

    def executes(self, code: str) -> None:
        """Run a block of Python; what it prints is not shown."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(self.folder):
            exec(compile(code, "<page>", "exec"), {"__name__": "page"})


def filtered(lines: list[str], program: str, argument: str) -> list[str]:
    """Return what `grep TEXT` or `head -N` lets through."""
    if program == "grep":
        return [line for line in lines if argument in line]
    if program == "head":
        return lines[: int(argument.removeprefix("-"))]
    raise ValueError(f"only head and grep can follow in a console block, was {program!r}")


@contextlib.contextmanager
def desk() -> Iterator[Desk]:
    """Make a desk for one page and clear it away."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copyfile(ROOT / "strategies.toml", folder / "strategies.toml")
        shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__", ".*"))
        _write_prices(folder / "prices.csv")
        before = os.environ.get("MNQ_LOAD_PLUGINS")
        os.environ["MNQ_LOAD_PLUGINS"] = ""  # pages show mnq alone, whatever else is installed here
        try:
            yield Desk(folder)
        finally:
            del os.environ["MNQ_LOAD_PLUGINS"]
            os.environ |= {} if before is None else {"MNQ_LOAD_PLUGINS": before}


def _write_prices(path: Path) -> None:
    """Write a file as vendors have it: 1-minute bars, stamped at their end, in Chicago's time."""
    import pandas as pd

    from mnqcore import BarRequest
    from mnqcore.market.instruments import catalogue
    from mnqplugins.data.synthetic import Synthetic

    minute = pd.Timedelta(1, "min").as_unit("ns")
    bars = Synthetic(days=8, start="2025-02-03").bars(BarRequest(instrument=catalogue()["MNQ"], bar_size=minute))
    ends = pd.DatetimeIndex(bars.index) + minute
    table = bars.drop(columns="contract").set_axis(ends.tz_convert("America/Chicago").tz_localize(None))
    table.rename_axis("Time").rename(columns=str.title).to_csv(path, date_format="%Y-%m-%d %H:%M")


# ----------------------------------------------------------------------------------------------------------------------
# Pages
# ----------------------------------------------------------------------------------------------------------------------


def refreshed(text: str) -> str:
    """Return a page with its tables and its screens as they are now; a screen that only shows another time stays."""
    text = _MADE.sub(lambda found: "\n".join([f"{found[1]}", *TABLES[found[2]](), "", found[3]]), text)
    if not _BLOCK.search(text):
        return text
    with desk() as place:
        return _BLOCK.sub(lambda found: _replayed(place, found), text)


def _replayed(place: Desk, found: re.Match[str]) -> str:
    kind, body = found[1], found[2]
    if kind == "console":
        commands = [line[2:] for line in body.splitlines() if line.startswith("$ ")]
        now = "".join(f"$ {command}\n{place.prints(command)}" for command in commands)
        if "error: " in now and "error: " not in body:  # a fault of the program is no page to write
            raise ValueError(f"a screen that showed no error does now:\n{now}")
        return found[0] if settled(now) == settled(body) else f"```console\n{now}```"
    if name := kind.partition(" ")[2]:
        place.folder.joinpath(name).write_text(body, encoding="utf-8")
    elif not body.startswith("@hookimpl"):
        place.executes(body)
    return found[0]


def settled(text: str) -> str:
    """Return a screen without what is another each time."""
    for pattern, word in _VARIES:
        text = re.sub(pattern, word, text)
    return text


def main() -> None:
    """Rewrite the pages that are not as they should be, and name them."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (now := refreshed(text)) != text:
            page.write_text(now, encoding="utf-8", newline="\n")
            sys.stdout.write(f"rewrote {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
