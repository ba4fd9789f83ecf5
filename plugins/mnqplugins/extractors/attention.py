"""A network in which the last bar looks back at all others at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import ObservationSpec, param, plugin

if TYPE_CHECKING:
    import torch


@plugin
class Attention:
    """Let each bar of the window attend to all others; what the last one made of them is the answer.

    Transformer encoder layers (Vaswani et al. 2017) with learned positions and the norms before each part (Xiong et
    al. 2020). Only the last bar is read, so the last layer asks for that bar alone: the same answer for less work.
    """

    hidden: int = param(64, ge=1, le=4096, unit="units", help="width of a bar, and of the answer", tune=(16, 256))
    heads: int = param(4, ge=1, le=64, unit="heads", help="ways of looking back; they share `hidden`", tune=(1, 8))
    layers: int = param(1, ge=1, le=16, unit="layers", help="times that the bars look at each other", tune=(1, 3))
    dropout: float = param(0.0, ge=0, lt=1, help="share that training hides of each part's output", tune=(0.0, 0.5))

    def __attrs_post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of heads, was {self.hidden} for {self.heads} heads")

    def build(self, spec: ObservationSpec) -> torch.nn.Module:
        """Return a module from float32 (batch, lookback, n_features) to (batch, hidden)."""
        from mnqplugins.extractors._attention import LastBar

        shape = (spec.lookback, spec.n_features)
        return LastBar(shape, hidden=self.hidden, heads=self.heads, layers=self.layers, dropout=self.dropout)
