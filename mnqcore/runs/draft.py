"""A run being made: written out of sight, and moved to its place when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import MnqError, UsageError
from mnqcore.plugins.provenance import sha256_of_file, versions_here
from mnqcore.runs.directory import SCHEMA, Run, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

FAILURE = "mnq.error/1"
"""Schema of `error.json`, which a run that failed leaves."""
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
    _resolved: str = attrs.field(default="", init=False, repr=False)
    _plugin_files: tuple[Path, ...] = attrs.field(default=(), init=False)

    def log(self, event: str, **facts: Any) -> None:
        """Note that something happened now."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._log.append(json.dumps({"time": moment, "event": event, **facts}))

    @property
    def home(self) -> Path:
        """The directory of the strategy's runs."""
        return self.base / self.strategy

    @property
    def folder(self) -> Path:
        """Where the run is being made; what stages leave there becomes part of it."""
        return self.home / f".partial-{os.getpid()}-{self.started:%Y%m%dT%H%M%S%f}"

    def begin(self, resolved: str, plugin_files: Sequence[Path] = ()) -> None:
        """Make the directory that the run will need, so that one that cannot be written is known before the work.

        Args:
            resolved: the strategy, each value with its origin.
            plugin_files: `-p` files to copy.
        """
        self._made = [folder for folder in (self.home, self.base) if not folder.exists()]
        self._resolved, self._plugin_files = resolved, tuple(plugin_files)
        try:
            self._fill()
        except OSError as error:
            raise UsageError(
                f"cannot write to the runs directory {self.base}",
                found=error.strerror or str(error),
                next="--runs-dir DIR takes another",
            ) from error

    def discard(self) -> None:
        """Leave nothing behind, nor directories that were made for this run alone."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in self._made:
            with contextlib.suppress(OSError):  # another run has come to lie there
                folder.rmdir()

    def set_aside(self, failure: Mapping[str, Any] | None) -> Path | None:
        """Keep what is left of a run under a name of its own, `...-interrupted` where a training can go on from it.

        It is no run: it has no figures, and no list shows it.

        Args:
            failure: why it failed, written to `error.json`; None keeps only what a training needs to be resumed.

        Returns:
            Where it is, or None where nothing was worth keeping, or could be kept.
        """
        resumable = _holds_checkpoint(self.folder)
        if not resumable and failure is None:
            self.discard()
            return None
        try:
            if failure is not None:
                document = {"schema": FAILURE, "strategy": self.strategy, "digest": self.digest, **failure}
                times = {"started": self.started.isoformat(), "failed": datetime.now(UTC).isoformat()}
                self._write_json("error.json", {**document, "versions": versions(), **times})
            self._write_log()
            return _place(self.folder, self.home / f"{self._name}-{'interrupted' if resumable else 'failed'}").resolve()
        except OSError:  # the disk is full, say: what ended the run matters more
            return None

    def keep(
        self, *, metrics: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], manifest: Mapping[str, Any]
    ) -> Run:
        """Write everything, then move it to its place, and return the run; call `begin` before.

        Args:
            metrics: JSON-able figures.
            tables: name -> table, written as NAME.parquet.
            manifest: what is known beyond versions, times and hashes, which are added here.
        """
        figures = to_json(metrics)
        try:
            if not self.folder.exists():  # the work took longer than a day, and another process swept
                self._fill()
            os.utime(self.folder)
            (self.folder / "metrics.json").write_text(figures, encoding="utf-8", newline="\n")
            for name, table in tables.items():
                table.to_parquet(self.folder / f"{name}.parquet")
            self._write_manifest(manifest)
            self._write_log()
            kept = Run(_place(self.folder, self.home / self._name).resolve())
        except OSError as error:
            raise MnqError("the run cannot be written", where=str(self.home), found=str(error)) from error
        _sweep(self.base)
        return kept

    @property
    def name(self) -> str:
        """What the run will be called, where no other has that name."""
        return f"{self.strategy}/{self._name}"

    @property
    def _name(self) -> str:
        return f"{self.started:%Y%m%dT%H%M%SZ}-{self.digest[:8]}"

    def _fill(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "resolved.toml").write_text(self._resolved, encoding="utf-8", newline="\n")
        for file in self._plugin_files:
            (self.folder / "plugins").mkdir(exist_ok=True)
            shutil.copyfile(file, self.folder / "plugins" / file.name)

    def _write_log(self) -> None:
        log = "".join(f"{line}\n" for line in self._log)
        (self.folder / "log.jsonl").write_text(log, encoding="utf-8", newline="\n")

    def _write_manifest(self, manifest: Mapping[str, Any]) -> None:
        written = sorted(path for path in self.folder.rglob("*") if path.is_file())
        document = {
            "schema": SCHEMA,
            "strategy": self.strategy,
            "digest": self.digest,
            "versions": versions(),
            **manifest,
            "files": {path.relative_to(self.folder).as_posix(): sha256_of_file(path) for path in written},
            "started": self.started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }
        self._write_json("manifest.json", document)

    def _write_json(self, name: str, document: Mapping[str, Any]) -> None:
        (self.folder / name).write_text(to_json(document), encoding="utf-8", newline="\n")


def versions() -> dict[str, str]:
    """Return what results depend on: name -> version."""
    return versions_here(_LIBRARIES)


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
    """Remove what killed processes left under a directory of runs, once it is old enough to be nobody's work.

    What holds a checkpoint stays: it may be hours of training, under way or worth resuming.
    """
    for folder in base.glob("*/.partial-*"):
        with contextlib.suppress(OSError):  # another process was faster
            if folder.stat().st_mtime < time.time() - _ABANDONED and not _holds_checkpoint(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _holds_checkpoint(folder: Path) -> bool:
    return any(folder.rglob("checkpoint/*/progress.json"))
