"""A policy's layers behind the extractor, in the form in which the simulator works them out bar by bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch

from mnqcore.simulator.observation import FEATURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnqcore.agent.policy import TradingPolicy

    Floats = NDArray[np.float32]

GUARD = 1e-4
"""Two preferences that are nearer than this are worked out again, by torch."""
_ROUNDING = 1e-5
"""How far a latent may be off, as a whole: a window alone and in a batch, or within a series, round differently."""
_ROUNDS = 30


@attrs.frozen(kw_only=True, eq=False)
class Head:
    """Linear layers with tanh or relu between them, from latent and position to four preferences.

    `entry`, `bias`: what a latent adds to the first layer, (latent, width) and (width,). The rest as
    `simulator.following.follow` takes it.
    """

    entry: Floats
    bias: Floats
    weights: Floats
    widths: NDArray[np.int64]
    rectified: bool
    guard: float

    def base(self, latents: Floats) -> Floats:
        """Return the first layer without the position's part, (bars, first width), of latents (bars, latent)."""
        # By torch, whose threads are ours to set: numpy's wait for each other by spinning.
        bias, rows, entry = (torch.from_numpy(array) for array in (self.bias, latents, self.entry))
        found: Floats = torch.addmm(bias, rows, entry).numpy()
        return found


def head(policy: TradingPolicy) -> Head | None:
    """Return a policy's head; None where it is not made of linear layers with one of tanh and relu between them."""
    layers = _layers(policy)
    if layers is None:
        return None
    linear, rectified = layers
    matrices = [_array(layer.weight).T for layer in linear]
    biases = [_array(layer.bias) for layer in linear]
    latent = len(matrices[0]) - FEATURES
    flat = [matrices[0][latent:].ravel()]
    for matrix, bias in zip(matrices[1:], biases[1:], strict=True):
        flat += [matrix.ravel(), bias]
    return Head(
        entry=np.ascontiguousarray(matrices[0][:latent]),
        bias=biases[0],
        weights=np.concatenate(flat),
        widths=np.array([matrix.shape[1] for matrix in matrices], np.int64),
        rectified=rectified,
        guard=max(GUARD, _ROUNDING * float(np.prod([_stretch(matrix) for matrix in matrices]))),
    )


def _layers(policy: TradingPolicy) -> tuple[list[torch.nn.Linear], bool] | None:
    """Return the linear layers and whether relu stands between them; None where there is anything else."""
    inner = getattr(policy.mlp_extractor, "policy_net", None)
    found = [*(inner if isinstance(inner, torch.nn.Sequential) else ()), policy.action_net]
    linear, between = found[::2], {type(layer) for layer in found[1::2]}
    if len(found) < 3 or len(between) != 1 or not between <= {torch.nn.Tanh, torch.nn.ReLU}:
        return None
    if not all(type(layer) is torch.nn.Linear and layer.bias is not None for layer in linear):
        return None
    return linear, between == {torch.nn.ReLU}


def _array(weight: torch.Tensor) -> Floats:
    found: Floats = weight.detach().cpu().numpy().astype(np.float32)  # a copy: what is trained on is not followed
    return found


def _stretch(matrix: Floats) -> float:
    """Return how many times longer a matrix makes a vector at most: its largest singular value, by powers."""
    vector: Any = np.ones(matrix.shape[1], np.float64)
    for _ in range(_ROUNDS):
        vector = matrix.T @ (matrix @ vector)
        vector /= max(float(np.linalg.norm(vector)), np.finfo(np.float64).tiny)
    return float(np.linalg.norm(matrix @ vector))
