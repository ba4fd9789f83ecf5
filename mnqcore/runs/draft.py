"""A run being made: written out of sight, and moved to its place when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError, UsageError
from mnqcore.runs.directory import SCHEMA, Run, sha256_of_file, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

_LIBRARIES = ("numpy", "numba", "pandas", "pyarrow", "pandas-market-calendars", "pandas-ta-classic")
_ABANDONED = 86_400  # seconds after which what a killed process left is removed


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
            "files": {path.relative_to(self._partial).as_posix(): sha256_of_file(path) for path in written},
            "started": self.started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }
        (self._partial / "manifest.json").write_text(to_json(document), encoding="utf-8", newline="\n")


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
