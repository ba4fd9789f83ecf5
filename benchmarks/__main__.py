"""`python -m benchmarks`: measure every row in one run and print the table."""

from __future__ import annotations

import argparse
import os
import sys

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_NAMES = (
    "kernel", "sizer", "backtesting", "vectorbt", "technical", "startup",
    "model-lstm", "model-gru", "model-attention", "model-again",
    "bar-8", "bar-64", "window-8", "window-64", "single", "reward",
    "ppo-attention", "ppo-lstm", "ppo-gru", "buffer", "seeds", "trade-replay", "trade-order", "trade-live",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 if a row could not be measured. A missed target is no failure."""
    options = _options(arguments)
    # One thread, and none that waits by spinning: set before numpy and numba are imported, and inherited by the peers.
    os.environ.update(dict.fromkeys(_THREADS, "1") | {"GOMP_SPINCOUNT": "0"})
    from benchmarks.rows import ROWS, Bench, table

    bench = Bench(
        bars=options.bars,
        rounds=options.rounds,
        with_peers=not options.no_peers,
        timesteps=options.timesteps,
        traded=options.traded,
    )
    rows = []
    for name in options.only or _NAMES:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rows.append(ROWS[name](bench))
    print(table(rows))
    print(f"\n{options.bars:,} SYNTHETIC 5-minute bars; CPU time, median of {options.rounds} rounds by turns")
    for note in bench.notes:
        print(note)
    return int(any(row.broken for row in rows))


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=_NAMES, metavar="ROW", help=f"one of {', '.join(_NAMES)}")
    parser.add_argument("--no-peers", action="store_true", help="leave out backtesting.py and vectorbt")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each contestant (default 11)")
    parser.add_argument("--bars", type=int, default=70_000, help="how many bars (default 70,000)")
    parser.add_argument(
        "--timesteps", type=int, default=40_000, help="length of the trainings of row seeds (default 40,000: a minute)"
    )
    parser.add_argument("--traded", type=int, default=20_000, help="bars of a session (default 20,000)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
