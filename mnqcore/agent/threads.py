"""One thread for torch: its networks here are small, and threads that wait for each other take longer than the work."""

from __future__ import annotations

import os


def one_thread() -> None:
    """Let torch use one thread, unless OMP_NUM_THREADS says how many; that none spins is said where mnq is imported."""
    wanted = os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    if wanted == "1":
        torch.set_num_threads(1)
