"""Run directories: everything one command produced, and what is needed to repeat it.

    runs/<strategy>/<utc>-<hash8>/
        resolved.toml    every value with its origin; loading it gives the same strategy
        manifest.json    versions, plugins, data and result hashes, times
        metrics.json     figures only, no times of the clock: two equal runs are equal byte for byte
        trades.parquet, equity.parquet
        log.jsonl        what happened when
        plugins/         copies of `-p` files

A run is written beside its place and moved there when it is whole: a directory under its own name is never half a run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, MnqError, UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

SCHEMA = "mnq.run/1"
_LIBRARIES = ("numpy", "numba", "pandas", "pyarrow", "pandas-market-calendars", "pandas-ta-classic")
_ABANDONED = 86_400  # seconds after which what a killed process left is removed
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

    def altered(self) -> list[str]:
        """Return the files that are not as they were written."""
        known: dict[str, str] = self.manifest.get("files", {})
        return [name for name, sha in known.items() if _sha256(self.path / name) != sha]


@attrs.define(kw_only=True)
class Draft:
    """A run being made: it has a directory of its own, out of sight, until `keep` moves that to its place."""

    base: Path
    strategy: str
    digest: str
    started: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    _log: list[str] = attrs.field(factory=list, init=False)
    _made: list[Path] = attrs.field(factory=list, init=False)

    def log(self, event: str, **facts: Any) -> None:
        """Note that something happened now."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.append(json.dumps({"time": moment, "event": event, **facts}))

    @property
    def home(self) -> Path:
        """The directory of the strategy's runs."""
        return self.base / self.strategy

    @property
    def _partial(self) -> Path:
        return self.home / f".partial-{os.getpid()}-{self.started:%Y%m%dT%H%M%S%f}"

    def begin(self) -> None:
        """Make the directory that the run will need, so that one that cannot be written is known before the work."""
        self._made = [folder for folder in (self.home, self.base) if not folder.exists()]
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise UsageError(
                f"cannot write to the runs directory {self.base}",
                found=error.strerror or str(error),
                next="--runs-dir DIR takes another",
            ) from error

    def discard(self) -> None:
        """Leave nothing behind, nor directories that were made for this run alone."""
        shutil.rmtree(self._partial, ignore_errors=True)
        for folder in self._made:
            with contextlib.suppress(OSError):  # another run has come to lie there
                folder.rmdir()

    def keep(
        self,
        *,
        resolved: str,
        metrics: Mapping[str, Any],
        tables: Mapping[str, pd.DataFrame],
        manifest: Mapping[str, Any],
        plugin_files: Sequence[Path] = (),
    ) -> Run:
        """Write everything, then move it to its place, and return the run; call `begin` before.

        Args:
            resolved: the strategy, each value with its origin.
            metrics: JSON-able figures.
            tables: name -> table, written as NAME.parquet.
            manifest: what is known beyond versions, times and hashes, which are added here.
            plugin_files: `-p` files to copy.
        """
        texts = {"resolved.toml": resolved, "metrics.json": to_json(metrics)}
        try:
            self._partial.mkdir(parents=True, exist_ok=True)  # gone if the work took longer than a day
            os.utime(self._partial)
            for name, text in texts.items():
                (self._partial / name).write_text(text, encoding="utf-8", newline="\n")
            for name, table in tables.items():
                table.to_parquet(self._partial / f"{name}.parquet")
            for file in plugin_files:
                (self._partial / "plugins").mkdir(exist_ok=True)
                shutil.copyfile(file, self._partial / "plugins" / file.name)
            self._write_manifest(manifest)
            log = "".join(f"{line}\n" for line in self._log)
            (self._partial / "log.jsonl").write_text(log, encoding="utf-8", newline="\n")
            kept = Run(_place(self._partial, self.home / f"{self.started:%Y%m%dT%H%M%SZ}-{self.digest[:8]}").resolve())
        except OSError as error:
            raise MnqError("the run cannot be written", where=str(self.home), found=str(error)) from error
        _sweep(self.base)
        return kept

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        written = sorted(path for path in self._partial.rglob("*") if path.is_file())
        document = {
            "schema": SCHEMA,
            "strategy": self.strategy,
            "digest": self.digest,
            "versions": versions(),
            **manifest,
            "files": {path.relative_to(self._partial).as_posix(): _sha256(path) for path in written},
            "started": self.started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }
        (self._partial / "manifest.json").write_text(to_json(document), encoding="utf-8", newline="\n")


def open_run(path: str | Path, base: str | Path = "runs") -> Run:
    """Return a run by its directory, or under `base` by `<strategy>/<utc>-<hash8>`, a part of that, or its hash.

    Raises:
        UsageError: there is no such run, or several that the name fits.
    """
    given = Path(path)
    if (given / "manifest.json").is_file():
        return Run(given.resolve())
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


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "missing"


def to_json(document: Mapping[str, Any]) -> str:
    """Return a document as JSON text; a number that is not finite is an error."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Return what results depend on: name -> version."""
    found = {"mnq": version("mnq"), "python": platform.python_version(), "machine": platform.machine()}
    return found | {name: version(name) for name in _LIBRARIES}


def _place(partial: Path, wanted: Path) -> Path:
    """Move a finished directory to its name, or to that name with a number where it is taken."""
    for number in range(1, 1000):
        place = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if place.exists():
            continue
        try:
            partial.rename(place)
        except OSError:  # another process was faster
            if not place.exists():
                raise
            continue
        return place
    raise UsageError(f"cannot name the run: {wanted} and 999 more exist")


def _sweep(base: Path) -> None:
    """Remove what killed processes left under a directory of runs, once it is old enough to be nobody's work."""
    for folder in base.glob("*/.partial-*"):
        with contextlib.suppress(OSError):  # another process was faster
            if folder.stat().st_mtime < time.time() - _ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)


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
