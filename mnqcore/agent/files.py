"""The files of a model: a plain folder whose manifest names each of them with its size and sha256.

Nothing is read before its size is known to be what was written; links, further folders and other files are refused.
The sums find damage and mix-ups. They are no signature: whoever can write the folder can write them as well.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from typing import TYPE_CHECKING, Any

from mnqcore.errors import DataError
from mnqcore.plugins.provenance import sha256_of_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST = "manifest.json"
LARGEST_JSON = 32 * 2**20
"""Bytes that a JSON file may have."""
LARGEST = {".json": LARGEST_JSON, ".safetensors": 4 * 2**30}
"""What the files of a model may be, formats that hold data only, never code -> bytes that one may have."""
_MOST = 64  # files
_READABLE = 160  # characters of a stranger's text that a message shows
_HINT = "take the model as it was saved, or train it again"


def read_capped(path: Path, largest: int, owner: str) -> bytes:
    """Return a plain file's bytes, unless it has more than `largest`; `owner` says who sets that limit.

    Raises:
        DataError: it is missing, a link or no plain file, or too large; nothing was read then.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            _refuse_odd(path, os.fstat(descriptor))
            if (size := os.fstat(descriptor).st_size) > largest:
                raise refused(path, f"{size} bytes, where {owner} {largest} at most")
            return file.read(largest)
    except OSError as error:
        raise refused(path, _reason(path, error)) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the document of a JSON file of at most `LARGEST_JSON` bytes; DataError where it is none."""
    return _document(path, read_capped(path, LARGEST_JSON, "a JSON file of a model has"))


def _document(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise refused(path, f"no JSON: {str(error) or type(error).__name__}") from error
    if not isinstance(document, dict):
        raise refused(path, f"no JSON object, but {type(document).__name__}")
    return document


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document; a number that is not finite is an error."""
    path.write_bytes(_text(document))


def seal(folder: Path, document: Mapping[str, Any]) -> None:
    """Write the manifest: the document, every file of the folder with size and sha256, and the manifest's own sum.

    Raises:
        DataError: something in the folder has no place in a model.
    """
    files = {
        name: {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for name, path in sorted(_plain_files(folder).items())
        if name != MANIFEST
    }
    whole = {**document, "files": files}
    write_json(folder / MANIFEST, {**whole, "sha256": _sum(whole)})


def unseal(folder: Path, schema: str) -> dict[str, Any]:
    """Return the manifest of a folder in which every file is as it was written.

    Args:
        folder: what `seal` closed.
        schema: "mnq.model/1": what the manifest must say it is.

    Raises:
        DataError: a file is missing, was added or changed, is a link or too large; or this is no such folder. It is
            named.
    """
    if not folder.is_dir():
        raise DataError("no such model", where=str(folder), found="no folder")
    content = read_capped(folder / MANIFEST, LARGEST_JSON, "a JSON file of a model has")
    manifest = _document(folder / MANIFEST, content)
    _refuse_other(folder, manifest.get("schema"), schema)
    whole = {key: value for key, value in manifest.items() if key != "sha256"}
    if manifest.get("sha256") != _sum(whole) or _text(manifest) != content:
        raise refused(folder / MANIFEST, "it is not as it was written")
    _refuse_changed(folder, _listed(folder, manifest.get("files")))
    return whole


def refused(path: Path, why: str) -> DataError:
    """Return the error that a file of a model is not used."""
    return DataError(f"{plain(path.name)} of the model is refused", where=str(path.parent), found=why, next=_HINT)


def plain(text: object) -> str:
    """Return a text that a stranger wrote as a message can show it: ASCII on one line, cut to a readable length."""
    shown = ascii(str(text))[1:-1]
    return shown if len(shown) <= _READABLE else f"{shown[: _READABLE - 3]}..."


def _refuse_other(folder: Path, found: object, schema: str) -> None:
    """Refuse a manifest of another format; a newer one needs a newer mnq."""
    if found == schema:
        return
    kind, _, number = str(found).partition("/")
    newer = kind == schema.partition("/")[0] and number.isdigit()
    raise DataError(
        "this model is of a format that this version of mnq does not read" if newer else "this is no model of mnq",
        where=str(folder),
        found=plain(found),
        next=f"it reads {schema}: " + ("install a newer mnq" if newer else "a model is what training writes to model/"),
    )


def _refuse_changed(folder: Path, listed: dict[str, tuple[int, str]]) -> None:
    """Refuse files that are not those listed: all names first, then all sizes, then what they hold."""
    present = _plain_files(folder)
    present.pop(MANIFEST)
    if missing := sorted(listed.keys() - present.keys()):
        raise refused(folder / missing[0], "it is missing")
    if extra := sorted(present.keys() - listed.keys()):
        raise refused(folder / extra[0], "the manifest does not list it")
    for name, path in sorted(present.items()):
        if (size := path.stat().st_size) != listed[name][0]:
            raise refused(path, f"{size} bytes, was written with {listed[name][0]}")
    for name, path in sorted(present.items()):
        if sha256_of_file(path) != listed[name][1]:
            raise refused(path, "it is not as it was written: its sha256 is another")


def _listed(folder: Path, files: object) -> dict[str, tuple[int, str]]:
    """Return name -> size and sha256 of the manifest's list."""
    if not isinstance(files, dict) or len(files) > _MOST:
        raise refused(folder / MANIFEST, "it lists no files")
    found = {}
    for name, facts in files.items():
        known = isinstance(facts, dict) and facts.keys() == {"bytes", "sha256"}
        if not known or type(facts["bytes"]) is not int or not isinstance(facts["sha256"], str):
            raise refused(folder / MANIFEST, f"it does not say how {plain(name)} was written")
        found[name] = (facts["bytes"], facts["sha256"])
    return found


def _plain_files(folder: Path) -> dict[str, Path]:
    """Return name -> path of all that lies in a folder; DataError if any of it has no place in a model."""
    found = {}
    for path in sorted(folder.iterdir()):
        _refuse_odd(path, facts := path.lstat())
        if path.suffix not in LARGEST:
            raise refused(path, f"a model has {' and '.join(LARGEST)} files only")
        if facts.st_size > (most := LARGEST[path.suffix]):
            raise refused(path, f"{facts.st_size} bytes, where a {path.suffix} file of a model has {most} at most")
        found[path.name] = path
        if len(found) > _MOST:
            raise DataError("too many files for a model", where=str(folder), found=f"more than {_MOST}")
    return found


def _refuse_odd(path: Path, facts: os.stat_result) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise refused(path, "it is a link: a model holds its files itself")
    if not stat.S_ISREG(facts.st_mode):
        raise refused(path, "it is a folder or no plain file: a model is one folder of plain files")


def _reason(path: Path, error: OSError) -> str:
    if path.is_symlink():
        return "it is a link: a model holds its files itself"
    return "it is missing" if isinstance(error, FileNotFoundError) else error.strerror or str(error)


def _sum(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(document)).hexdigest()


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:20]} is too large a number")
    return number
