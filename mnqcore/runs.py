"""Run directories: everything one command produced, and what is needed to repeat it.

    runs/<strategy>/<utc>-<hash8>/
        resolved.toml    every value with its origin; loading it gives the same strategy
        manifest.json    versions, plugins, data and result hashes, times
        metrics.json     figures only, so that two equal runs are equal byte for byte
        trades.parquet, equity.parquet
        log.jsonl        what happened when
        plugins/         copies of `-p` files

A run is written beside its place and moved there when it is whole: a directory under its own name is never half a run.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import UsageError, suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

SCHEMA = "mnq.run/1"
_LIBRARIES = ("numpy", "numba", "pandas", "pyarrow", "pandas-market-calendars", "pandas-ta-classic")
_TABLES = ("trades", "equity")


@attrs.frozen
class Run:
    """A finished run on disk."""

    path: Path

    @property
    def name(self) -> str:
        """`<strategy>/<utc>-<hash8>`, as commands take it."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, plugins, hashes and times."""
        return _read_json(self.path / "manifest.json")

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
    def plugin_files(self) -> list[Path]:
        """The copies of the `-p` files that the run was made with."""
        return sorted((self.path / "plugins").glob("*.py"))

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.read_parquet(self.path / f"{name}.parquet")


@attrs.define(kw_only=True)
class Draft:
    """A run being made: log lines and tables gather here until `keep` moves them to their place."""

    base: Path
    strategy: str
    digest: str
    started: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    _log: list[str] = attrs.field(factory=list, init=False)

    def log(self, event: str, **facts: Any) -> None:
        """Note that something happened now."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.append(json.dumps({"time": moment, "event": event, **facts}))

    def keep(
        self,
        *,
        resolved: str,
        metrics: Mapping[str, Any],
        tables: Mapping[str, pd.DataFrame],
        manifest: Mapping[str, Any],
        plugin_files: Sequence[Path] = (),
    ) -> Run:
        """Write everything, then move it to its place, and return the run.

        Args:
            resolved: the strategy, each value with its origin.
            metrics: JSON-able figures.
            tables: name -> table, written as NAME.parquet.
            manifest: what is known beyond versions, times and hashes, which are added here.
            plugin_files: `-p` files to copy.
        """
        home = self.base / self.strategy
        home.mkdir(parents=True, exist_ok=True)
        partial = home / f".partial-{os.getpid()}-{self.started:%Y%m%dT%H%M%S%f}"
        partial.mkdir()
        try:
            self._write(partial, resolved, metrics, tables, manifest, plugin_files)
            return Run(_place(partial, home / f"{self.started:%Y%m%dT%H%M%SZ}-{self.digest[:8]}"))
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _write(
        self,
        folder: Path,
        resolved: str,
        metrics: Mapping[str, Any],
        tables: Mapping[str, pd.DataFrame],
        manifest: Mapping[str, Any],
        plugin_files: Sequence[Path],
    ) -> None:
        (folder / "resolved.toml").write_text(resolved, encoding="utf-8", newline="\n")
        figures = to_json(metrics)
        (folder / "metrics.json").write_text(figures, encoding="utf-8", newline="\n")
        for name, table in tables.items():
            table.to_parquet(folder / f"{name}.parquet")
        if plugin_files:
            (folder / "plugins").mkdir()
        for file in plugin_files:
            shutil.copy2(file, folder / "plugins" / file.name)
        known = {"schema": SCHEMA, "strategy": self.strategy, "digest": self.digest, "versions": versions()}
        times = {"started": self.started.isoformat(), "finished": datetime.now(UTC).isoformat()}
        document = known | dict(manifest) | times
        document["hashes"] = {**document.get("hashes", {}), "metrics": hashlib.sha256(figures.encode()).hexdigest()}
        (folder / "manifest.json").write_text(to_json(document), encoding="utf-8", newline="\n")
        (folder / "log.jsonl").write_text("".join(f"{line}\n" for line in self._log), encoding="utf-8", newline="\n")


def open_run(path: str | Path, base: str | Path = "runs") -> Run:
    """Return a run by its directory, or by `<strategy>/<utc>-<hash8>` (or the last part alone) under `base`.

    Raises:
        UsageError: there is no such run, or several that the name fits.
    """
    given = Path(path)
    if (given / "manifest.json").is_file():
        return Run(given.resolve())
    known = list_runs(base)
    fitting = [run for run in known if str(path) in (run.name, run.path.name)]
    if len(fitting) == 1:
        return fitting[0]
    close = suggest(str(path), [run.name for run in known])
    raise UsageError(
        f"no run {str(path)!r}" if not fitting else f"{len(fitting)} runs are called {str(path)!r}",
        where=str(base),
        next=f"did you mean {close}?" if close else "mnq runs list shows them",
    )


def list_runs(base: str | Path = "runs") -> list[Run]:
    """Return the finished runs under a directory, oldest first."""
    found = [Run(file.parent.resolve()) for file in Path(base).glob("*/*/manifest.json") if file.parent.name[0] != "."]
    return sorted(found, key=lambda run: (run.path.name, run.name))


def remove(run: Run) -> None:
    """Delete a run from disk, out of sight first, so that a half-deleted one is never listed."""
    hidden = run.path.with_name(f".partial-removed-{run.path.name}")
    run.path.rename(hidden)
    shutil.rmtree(hidden)


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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path.name} of the run", where=str(path), found=str(error)) from error
    if not isinstance(document, dict):
        raise UsageError(f"{path.name} is not what a run holds", where=str(path), found=type(document).__name__)
    return document
