"""The stock form of the extractor `attention`: every bar of the window asks, although only the last one is read.

Same parameters in the same order as the built-in one, so that equal seeds give equal weights and equal answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import plugin
from mnqplugins.extractors._attention import LastBar
from mnqplugins.extractors.attention import Attention

if TYPE_CHECKING:
    import torch

    from mnqcore import ObservationSpec


class AllBars(LastBar):
    """A `LastBar` that reckons all of its last layer and then takes the last bar."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return (batch, hidden) of windows (batch, lookback, features)."""
        bars = self.enter(windows) + self.position
        for layer in self.layers:
            bars = layer(bars)
        latent: torch.Tensor = self.leave(bars)[:, -1]
        return latent


@plugin
class FullAttention(Attention):
    """`attention` with all queries."""

    def build(self, spec: ObservationSpec) -> torch.nn.Module:
        """Return a module from float32 (batch, lookback, n_features) to (batch, hidden)."""
        shape = (spec.lookback, spec.n_features)
        return AllBars(shape, hidden=self.hidden, heads=self.heads, layers=self.layers, dropout=self.dropout)
