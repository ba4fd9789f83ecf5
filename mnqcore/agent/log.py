"""What a training logs: a table, the same as JSON, and TensorBoard's files where those are asked for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.logger import CSVOutputFormat, JSONOutputFormat, Logger, TensorBoardOutputFormat

if TYPE_CHECKING:
    from pathlib import Path

    from stable_baselines3.common.logger import KVWriter

STEP = "time/total_timesteps"
"""In every row: bars trained by then."""


def open_log(folder: Path, tensorboard: bool, done: int) -> Logger:
    """Return a log that writes `progress.csv` and `progress.json`, one object a line; and `tensorboard/` if asked.

    Args:
        folder: of the training; rows that are there are kept, up to where it goes on.
        tensorboard: log for that as well.
        done: bars that a resumed training has done already.
    """
    rows = _rows(folder / "progress.json", done)
    tables: list[KVWriter] = [
        CSVOutputFormat(str(folder / "progress.csv")),
        JSONOutputFormat(str(folder / "progress.json")),
    ]
    for row in rows:
        for table in tables:
            table.write(row, dict.fromkeys(row, ()))
    further = [TensorBoardOutputFormat(str(folder / "tensorboard"))] if tensorboard else []
    return Logger(str(folder), [*tables, *further])


def _rows(path: Path, done: int) -> list[dict[str, Any]]:
    """Return the rows of a log that come before a moment; what a killed process has torn is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get(STEP, done + 1) <= done:
            found.append(row)
    return found
