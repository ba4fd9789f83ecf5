"""What the user switches on and off: `-p FILE.py`, `-p no:NAME`, `MNQ_LOAD_PLUGINS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from packaging.utils import canonicalize_name

from mnqcore.errors import UsageError, suggest
from mnqcore.plugins.discovery import CORE
from mnqcore.plugins.records import Disabled, Registered, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnqcore.plugins.registry import Plugins

ENVIRONMENT = "MNQ_LOAD_PLUGINS"
"""The variable that limits which installed distributions are loaded."""


@attrs.frozen(kw_only=True)
class Switches:
    """The user's choices: `files` to load, distributions and (kind, use) pieces that are off, and the only ones on."""

    files: tuple[str, ...]
    distributions: frozenset[str]
    pieces: tuple[tuple[str, str], ...]
    only: frozenset[str] | None

    @classmethod
    def read(cls, extra: Sequence[str], environ: Mapping[str, str], sources: Sequence[Source]) -> Switches:
        """Read `-p` values and the environment; UsageError for an unknown distribution."""
        known = sorted({source.distribution for source in sources})
        files = tuple(text for text in extra if not text.startswith("no:"))
        off = [text.removeprefix("no:") for text in extra if text.startswith("no:")]
        for text in files:
            if not text.endswith(".py"):
                raise UsageError(f"-p {text} is neither a file nor a switch", next="-p expects FILE.py or no:NAME")
        return cls(
            files=files,
            distributions=frozenset(_known(text, known, f"-p no:{text}") for text in off if "/" not in text),
            pieces=tuple((text.partition("/")[0], text.partition("/")[2]) for text in off if "/" in text),
            only=_only(environ.get(ENVIRONMENT), known),
        )

    def blocks(self, source: Source) -> str:
        """Return what keeps a plugin from being loaded, "" if nothing does."""
        if source.file or source.distribution == CORE:
            return ""
        if source.distribution in self.distributions:
            return f"-p no:{source.distribution}"
        return f"not in {ENVIRONMENT}" if self.only is not None and source.distribution not in self.only else ""

    def drop_pieces(self, plugins: Plugins) -> None:
        """Take `-p no:kind/name` out of `plugins`; UsageError when no such piece is registered."""
        for kind, use in self.pieces:
            dropped = plugins.matching(kind, use)
            if not dropped:
                raise UsageError(f"-p no:{kind}/{use}: no {kind} named '{use}'", next=plugins.advice(kind, use))
            plugins.registered = [piece for piece in plugins.registered if piece not in dropped]
            plugins.disabled.extend(_off(piece, f"-p no:{kind}/{use}") for piece in dropped)


def _off(piece: Registered, by: str) -> Disabled:
    return Disabled(distribution=piece.distribution, version=piece.version, kind=piece.kind, name=piece.name, by=by)


def _only(value: str | None, known: list[str]) -> frozenset[str] | None:
    if value is None:
        return None
    return frozenset(_known(text.strip(), known, ENVIRONMENT) for text in value.split(",") if text.strip())


def _known(text: str, known: list[str], what: str) -> str:
    name = canonicalize_name(text)
    if name == CORE and what.startswith("-p"):
        raise UsageError("the built-ins cannot be switched off as a whole", next="-p no:kind/name switches off one")
    if name not in known:
        meant = suggest(name, known)
        hint = f"did you mean '{meant}'? " if meant else ""
        raise UsageError(f"{what}: no plugin distribution '{text}' is installed", next=f"{hint}mnq plugins lists them")
    return str(name)
