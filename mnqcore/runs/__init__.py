"""Run directories: everything one command produced, and what is needed to repeat it.

    runs/looks.jsonl         a line for each evaluation on test bars
    runs/<strategy>/<utc>-<hash8>/
        resolved.toml    every value with its origin; loading it gives the same strategy
        manifest.json    versions, plugins, data and result hashes, times
        metrics.json     figures only, no times of the clock: two equal runs are equal byte for byte
        trades.parquet, equity.parquet
        log.jsonl        what happened when
        plugins/         copies of `-p` files

A run is written beside its place and moved there when it is whole: a directory under its own name is never half a run.
"""

from mnqcore.runs.directory import SCHEMA, Run, list_runs, open_run, remove, to_json
from mnqcore.runs.draft import Draft, versions

__all__ = ["SCHEMA", "Draft", "Run", "list_runs", "open_run", "remove", "to_json", "versions"]
