"""`mnq plugins install`: pip, of the environment that mnq runs in."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from mnqcore.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("install")
@click.argument("packages", nargs=-1, required=True)
@click.option("-U", "--upgrade", is_flag=True, help="Take the newest version of those that are installed.")
@click.option("-e", "--editable", is_flag=True, help="PACKAGES are folders; edits in them count at once.")
def install(packages: tuple[str, ...], upgrade: bool, editable: bool) -> None:
    """Install PACKAGES into the environment that mnq runs in: what `pip install` does, in the right place."""
    options = ["--upgrade"] if upgrade else []
    for package in packages:
        options += ["--editable", package] if editable else [package]
    if subprocess.run(installing(options), check=False).returncode:
        raise PluginError("pip could not install it", found=" ".join(packages), next="what it said stands above")


def installing(options: Sequence[str]) -> list[str]:
    """Return the command that installs into this environment, by pip, or by uv where pip is not installed.

    Raises:
        PluginError: neither is there.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", *options]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable, *options]
    raise PluginError("pip is not installed here", next="python -m ensurepip")
