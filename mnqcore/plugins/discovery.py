"""Finds plugins: entry points of installed distributions, and the one-file plugins of `-p`."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from importlib import metadata
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from mnqcore.errors import PluginError, UsageError
from mnqcore.hookspecs import PROJECT
from mnqcore.plugins.blame import Refused
from mnqcore.plugins.records import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

CORE = "mnq"
"""The distribution of the core and the built-ins."""


def installed() -> list[Source]:
    """Return one source per entry point of the group, the built-ins first; nothing is imported."""
    found = [_installed(entry, core=core_version()) for entry in _entry_points()]
    return sorted(found, key=lambda source: (source.distribution != CORE, source.key))


def core_version() -> str:
    """Return the version of mnq; PluginError when it runs without being installed."""
    try:
        return metadata.version(CORE)
    except metadata.PackageNotFoundError as error:
        raise PluginError("mnq is not installed here", next="in its folder: pip install -e .") from error


def one_file(text: str) -> Source:
    """Return the source of a `-p FILE.py` plugin; UsageError when there is no such file."""
    path = Path(text).resolve()
    if not path.is_file():
        raise UsageError(f"no plugin file {text}", found=f"{path} is not a file", next="-p expects FILE.py or no:NAME")
    distribution = f"mnq-local-{re.sub('[^0-9a-z]+', '-', path.stem.lower()).strip('-')}"
    return Source(
        key=f"{distribution}:{path.name}",
        distribution=distribution,
        version="0",
        entry=path.name,
        module=path.stem,
        file=path,
        find=lambda: _import_file(path),
    )


def _entry_points() -> Iterator[metadata.EntryPoint]:
    try:
        yield from metadata.entry_points(group=PROJECT)
    except (AttributeError, TypeError, ValueError):  # one distribution's unreadable entry_points.txt spoils them all
        seen = set()
        for distribution in metadata.distributions():
            name = canonicalize_name(distribution.name or "")
            if name not in seen:
                seen.add(name)
                yield from _readable(distribution)


def _readable(distribution: metadata.Distribution) -> list[metadata.EntryPoint]:
    try:
        return list(distribution.entry_points.select(group=PROJECT))
    except (AttributeError, TypeError, ValueError):
        text = distribution.read_text("entry_points.txt") or ""
        if f"[{PROJECT}]" not in text:
            return []
        torn = metadata.EntryPoint("entry_points.txt", "(unreadable)", PROJECT)
        return [torn._for(distribution)]  # type: ignore[attr-defined]


def _installed(entry: metadata.EntryPoint, core: str) -> Source:
    distribution = entry.dist
    assert distribution is not None  # entry points of installed distributions carry theirs
    name = canonicalize_name(distribution.name or "unknown")
    return Source(
        key=f"{name}:{entry.name}",
        distribution=name,
        version=distribution.version or "unknown",
        entry=entry.name,
        module=entry.value.partition(":")[0].strip(),
        find=lambda: _load(entry),
        needs=None if name == CORE else _unmet(distribution, core),
    )


def _load(entry: metadata.EntryPoint) -> Any:
    if not re.fullmatch(r"[\w.]+(\s*:\s*[\w.]+)?(\s*\[.*\])?", entry.value):
        raise Refused(f"its entry point '{entry.name} = {entry.value}' names no module")
    return entry.load()


def _unmet(distribution: metadata.Distribution, core: str) -> str | None:
    """The distribution's requirement on mnq if the core does not fit it: `mnq>=1`."""
    for text in distribution.requires or ():
        name = re.match(r"[\w.-]+", text)
        if not name or canonicalize_name(name[0]) != CORE:
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return text
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and not requirement.specifier.contains(core, prereleases=True):
            return f"{CORE}{requirement.specifier}"
    return None


class _Text(SourceFileLoader):
    """Compiles the text as it is now: a stale `.pyc` must not win over an edit, nor be left beside the user's file."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _import_file(path: Path) -> Any:
    """Import a file under a name of its own, so that pickle and numba find its classes by that name."""
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    name = f"mnq_local_{re.sub(r'[^0-9A-Za-z]', '_', path.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Text(name, str(path)))
    assert spec is not None  # only a missing loader gives None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
