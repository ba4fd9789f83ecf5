"""`mnq new`: a plugin package or a strategy file to begin with, offline and without a question."""

from __future__ import annotations

import keyword
import re
import shlex
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnqcore.cli.scaffold import TEMPLATES, filled, strategy_text, version, write_folder, write_into
from mnqcore.errors import PluginError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnqcore.cli.context import Context

KINDS = ("reward", "bracket", "sizer", "features", "extractor", "agent", "data", "broker")
"""What a package can be made of. An executor is no trader's piece: docs/plugins.md shows one."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_KEYS = {"features": "features.own", "broker": "trade.broker"}
"""kind -> the key of a strategy that names it, where that is not the kind."""
_EDITABLE = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--editable")
"""Nothing is looked up: mnq is installed, and brings what builds a package."""


@click.command("new")
@click.argument("kind", metavar="KIND", type=click.Choice([*KINDS, "strategy"]))
@click.argument("name")
@click.option("--dir", "place", default=".", metavar="DIR", help="Where it is written.  [default: here]")
@click.option("--no-install", is_flag=True, help="Write the package, and do not install it.")
@click.option("--template", type=click.Choice(TEMPLATES), default="rule", help="Of a strategy: a rule, or a model.")
@click.pass_obj
def new(context: Context, kind: str, name: str, place: str, no_install: bool, template: str) -> None:
    """Write a package with a working piece of a KIND, called NAME, and install it editable; or a strategy file.

    Kinds: reward bracket sizer features extractor agent data broker, and strategy.
    """
    folder = Path(place)
    if kind == "strategy":
        _check_name(name, "strategy")
        write_into(folder, {f"{name}.toml": strategy_text(template, name, f"{name}.toml")})
        _tell(context, [folder / f"{name}.toml"], "", _run_of(folder / f"{name}.toml", template))
        return
    _check_free(context, kind, name)
    package = folder / f"mnq-{name}"
    files = package_files(kind, name)
    write_folder(package, files)
    if not no_install:
        _install(package)
    next_ = f"mnq plugins check {name}"
    _tell(
        context,
        [package / file for file in files],
        "" if no_install else f"mnq-{name} 0.1.0, editable",
        _install_editable(package) if no_install else next_,
    )


def package_files(kind: str, name: str) -> dict[str, str]:
    """Return the files of a package with one piece: name -> text."""
    module, cls, key = f"mnq_{name.replace('-', '_')}", _class(name), _KEYS.get(kind, kind)
    values = {"kind": kind, "name": name, "module": module, "cls": cls, "key": key, "version": version()}
    use = f'{key} = {{ use = "{name}" }}'
    texts = {
        "pyproject.toml": "pyproject.toml",
        f"{module}.py": f"{kind}.py",
        f"tests/test_{name.replace('-', '_')}.py": "test.py",
        "README.md": "README.md",
    }
    return {file: filled(template, **values, use=use) for file, template in texts.items()}


def _class(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _check_name(name: str, kind: str) -> None:
    import mnqcore

    if not _NAME.fullmatch(name):
        raise UsageError(f"a {kind} cannot be named {name!r}", next="lower-case words joined by dashes: my-idea")
    if keyword.iskeyword(name) or keyword.iskeyword(_class(name)):
        raise UsageError(f"a {kind} cannot be named {name!r}", found="it is a word of Python", next="add another word")
    if _class(name) in mnqcore.__all__:
        raise UsageError(f"a {kind} cannot be named {name!r}", found=f"mnqcore.{_class(name)}", next="add another word")


def _check_free(context: Context, kind: str, name: str) -> None:
    """Refuse a name that a piece or a distribution has which is installed here."""
    _check_name(name, kind)
    if taken := context.plugins().matching(kind, name):
        raise UsageError(f"a {taken[0].title} is installed already", next="choose another name")
    try:
        known = metadata.version(f"mnq-{name}")
    except metadata.PackageNotFoundError:
        return
    raise UsageError(f"a distribution mnq-{name} {known} is installed already", next="choose another name")


def _install(package: Path) -> None:
    from mnqcore.cli.pip import installing

    done = subprocess.run(installing([*_EDITABLE, str(package)]), check=False, capture_output=True, text=True)
    if done.returncode:
        said = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        telling = [line for line in said if "Error: " in line] or said or [f"exit code {done.returncode}"]
        raise PluginError(
            f"{package} is written, but pip could not install it",
            found=telling[-1],
            next=f"{_install_editable(package)}, or: mnq -p {shlex.quote(str(next(package.glob('*.py'))))} COMMAND",
        )


def _install_editable(package: Path) -> str:
    """Return the command that installs a package so that what is changed in it counts at once."""
    return f"mnq plugins install -e {shlex.quote(str(package))}"


def _run_of(file: Path, template: str) -> str:
    return f"mnq run {shlex.quote(str(file))}{' --stage train,backtest' if template == 'learn' else ''}"


def _tell(context: Context, files: Sequence[Path], installed: str, next_: str) -> None:
    """Print what was written and installed, and the command to go on with."""
    names = [file.as_posix() for file in files]
    if context.format == "json":
        context.print_json("mnq.new/1", {"files": names, "installed": installed or None, "next": next_})
        return
    lines = [f"wrote      {name}" for name in names]
    lines += [f"installed  {installed}"] if installed else []
    click.echo("\n".join([*lines, f"next       {next_}"]))
