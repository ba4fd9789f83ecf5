"""What networks are tried on: windows of random features, and the seeds they are drawn by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnqcore.api.values import ObservationSpec
from mnqcore.testing.answers import FEATURES, LOOKBACK
from mnqcore.testing.verdict import NotAsked

if TYPE_CHECKING:
    import torch

    from mnqcore.testing.subject import Subject


def spec(lookback: int = LOOKBACK, features: int = FEATURES) -> ObservationSpec:
    """Return a shape of windows."""
    return ObservationSpec(lookback=lookback, n_features=features, names=tuple(f"c{at}" for at in range(features)))


def built(subject: Subject, shape: ObservationSpec | None = None, seed: int = 0) -> Any:
    """Return a fresh network, its weights drawn by a seed; NotAsked where torch is not installed."""
    try:
        import torch
    except ImportError as error:
        raise NotAsked('torch is not installed: pip install "mnq[rl]"') from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return subject.build().build(shape or spec())


def windows(batch: int, shape: ObservationSpec | None = None, seed: int = 1) -> torch.Tensor:
    """Return windows, float32 (batch, lookback, n_features)."""
    import torch

    shape = shape or spec()
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(batch, shape.lookback, shape.n_features, generator=draw)


def series(bars: int, seed: int = 3) -> torch.Tensor:
    """Return rows of features, float32 (bars, n_features)."""
    import torch

    return torch.randn(bars, FEATURES, generator=torch.Generator().manual_seed(seed))


def encoded(network: Any, rows: torch.Tensor) -> torch.Tensor:
    """Return what a network makes of windows, without gradients."""
    import torch

    with torch.no_grad():
        found: torch.Tensor = network(rows).detach()
    return found


def differ(one: torch.Tensor, other: torch.Tensor, within: float = 1e-5) -> float:
    """Return by how much two latents differ at most, 0.0 where by no more than rounding."""
    import torch

    if one.shape != other.shape:
        return float("inf")
    if torch.allclose(one, other, rtol=within, atol=within, equal_nan=True):
        return 0.0
    return float((one - other).abs().max())
