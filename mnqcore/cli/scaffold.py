"""Fills the templates of this package, and writes what they become: all of it, or nothing."""

from __future__ import annotations

import contextlib
import shutil
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from mnqcore.errors import MnqError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEMPLATES = ("rule", "learn")
"""Strategy files that a project can begin with."""


def filled(template: str, **values: str) -> str:
    """Return a template's text with its ${names} replaced; KeyError names one that was not given."""
    text = (resources.files("mnqcore.cli") / "templates" / f"{template}.tmpl").read_text(encoding="utf-8")
    return Template(text).substitute(values)


def strategy_text(template: str, name: str, file: str) -> str:
    """Return a strategy file with one strategy."""
    return filled(f"{template}.toml", name=name, file=file, version=version())


def version() -> str:
    """Return the version of mnq that what is written will ask for."""
    from mnqcore.plugins.discovery import core_version

    return core_version()


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write a new folder: it is made beside its place, and moved there when it is whole.

    Args:
        folder: where; must not exist.
        files: name relative to it -> text.

    Raises:
        UsageError: it is there already.
        MnqError: it cannot be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already", next="choose another name, or another --dir")
    partial = folder.with_name(f".{folder.name}-partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        for name, text in files.items():
            _write(partial / name, text)
        partial.rename(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_into(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder that may exist; none of them may.

    Args:
        folder: where.
        files: name relative to it -> text; a name that ends in "/" is a folder.

    Raises:
        UsageError: one of the files is there already; nothing was written.
        MnqError: they cannot be written; those that were are taken away again.
    """
    if taken := [name for name in files if not name.endswith("/") and (folder / name).exists()]:
        raise UsageError(f"{folder / taken[0]} is there already", next="nothing was written: choose another folder")
    written: list[Path] = []
    try:
        for name, text in files.items():
            if name.endswith("/"):
                (folder / name).mkdir(parents=True, exist_ok=True)
                continue
            written.append(folder / name)
            _write(folder / name, text)
    except OSError as error:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        raise _unwritable(folder, error) from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _unwritable(folder: Path, error: OSError) -> MnqError:
    return MnqError(f"cannot write {folder}", found=error.strerror or str(error), next="name another place")
