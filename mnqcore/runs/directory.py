"""Finished runs on disk: read, found by a part of their name, listed and removed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, MnqError, UsageError, suggest
from mnqcore.plugins.provenance import sha256_of_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

SCHEMA = "mnq.run/1"
_SHORTEST = 4  # characters of a run's name that may stand for it


@attrs.frozen
class Run:
    """A finished run on disk."""

    path: Path

    @property
    def name(self) -> str:
        """`<strategy>/<utc>-<hash8>`, as commands take it."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def strategy(self) -> str:
        """Name of the strategy."""
        return self.path.parent.name

    @property
    def digest(self) -> str:
        """sha256 (hex) of everything in the strategy that can change a result."""
        return str(self.manifest["digest"])

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, plugins, hashes and times."""
        document = _read_json(self.path / "manifest.json")
        if document.get("schema") != SCHEMA:
            raise DataError(
                "this run is of a format that this version of mnq does not read",
                where=str(self.path),
                found=str(document.get("schema")),
                next=f"it reads {SCHEMA}",
            )
        return document

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures."""
        return _read_json(self.path / "metrics.json")

    @property
    def trades(self) -> pd.DataFrame:
        """One row a round trip."""
        return self._table("trades")

    @property
    def equity(self) -> pd.Series:
        """Dollars at each close."""
        return self._table("equity")["equity"]

    @property
    def resolved(self) -> str:
        """The strategy, each value with its origin."""
        try:
            return (self.path / "resolved.toml").read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise _unreadable(self.path / "resolved.toml", error) from error

    @property
    def plugin_files(self) -> list[Path]:
        """The copies of the `-p` files that the run was made with."""
        return sorted((self.path / "plugins").glob("*.py"))

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        path = self.path / f"{name}.parquet"
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
            raise _unreadable(path, error) from error

    @property
    def traded(self) -> bool:
        """Whether a session made it, rather than a backtest."""
        return self.manifest.get("stage") == "trade"

    def altered(self) -> list[str]:
        """Return the files that are not as they were written."""
        known: dict[str, str] = self.manifest.get("files", {})
        return [name for name, sha in known.items() if not _is_as_written(self.path / name, sha)]


def open_run(path: str | Path, base: str | Path = "runs") -> Run:
    """Return a run by its directory, or under `base` by `<strategy>/<utc>-<hash8>`, a part of that, or its hash.

    Raises:
        UsageError: there is no such run, or several that the name fits.
    """
    given = Path(path)
    if (given / "manifest.json").is_file():
        return Run(given.resolve())
    for place in (given, Path(base) / given):
        if (place / "error.json").is_file():
            raise UsageError("this run has failed", where=place.as_posix(), next="error.json there says why")
    known = list_runs(base)
    for fits in (_is_named, _has_part):
        fitting = [run for run in known if fits(run, given.as_posix())]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(run.name for run in fitting[:3]) + (", ..." if len(fitting) > 3 else "")
            raise UsageError(f"{len(fitting)} runs fit {str(path)!r}", found=names, next="give more of the name")
    close = suggest(str(path), [run.name for run in known])
    raise UsageError(
        f"no run {str(path)!r}", where=str(base), next=f"did you mean {close}?" if close else "mnq runs list shows them"
    )


def _is_named(run: Run, text: str) -> bool:
    return text in (run.name, run.path.name)


def _has_part(run: Run, text: str) -> bool:
    """Whether a text of four characters or more begins the run's name, its time or its hash."""
    digest = run.path.name.partition("-")[2]
    return len(text) >= _SHORTEST and any(part.startswith(text) for part in (run.name, run.path.name, digest))


def list_runs(base: str | Path = "runs") -> list[Run]:
    """Return the finished runs under a directory, oldest first."""
    found = [Run(file.parent.resolve()) for file in Path(base).glob("*/*/manifest.json") if file.parent.name[0] != "."]
    return sorted(found, key=lambda run: (run.path.name, run.name))


def remove(run: Run) -> None:
    """Delete a run from disk, out of sight first, so that a half-deleted one is never listed."""
    hidden = run.path.with_name(f".partial-removed-{run.path.name}")
    try:
        os.utime(run.path)  # so that a run kept meanwhile does not take it for abandoned
        run.path.rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise MnqError(f"cannot delete {run.name}", where=str(run.path), found=str(error)) from error
    with contextlib.suppress(OSError):  # other runs of the strategy lie there
        run.path.parent.rmdir()


def _is_as_written(path: Path, sha256: str) -> bool:
    try:
        return sha256_of_file(path) == sha256
    except OSError:  # it is missing, or cannot be read
        return False


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text; a number that is not finite is an error."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(document, dict):
        raise _unreadable(path, type(document).__name__)
    return document


def _unreadable(path: Path, why: object) -> DataError:
    return DataError(f"cannot read {path.name} of the run", where=str(path.parent), found=str(why).splitlines()[0])
