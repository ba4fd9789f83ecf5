"""One thread for torch: its networks here are small, and threads that wait for each other take longer than the work."""

from __future__ import annotations

import os


def one_thread() -> None:
    """Let torch use one thread, and none that waits by spinning; call it before torch is first imported.

    The user's own OMP_NUM_THREADS and GOMP_SPINCOUNT are left as they are.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    wanted = os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    if wanted == "1":
        torch.set_num_threads(1)
