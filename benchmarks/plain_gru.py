"""The stock form of the extractor `gru`: torch's own, in training too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import plugin
from mnqplugins.extractors.gru import Gru

if TYPE_CHECKING:
    import torch

    from mnqcore import ObservationSpec


@plugin
class PlainGru(Gru):
    """`gru` on `torch.nn.GRU`: the same parameters in the same order."""

    def build(self, spec: ObservationSpec) -> torch.nn.Module:
        """Return a module from float32 (batch, lookback, n_features) to (batch, hidden)."""
        import torch

        from mnqplugins.extractors._recurrent import LastOutput

        shape = (spec.lookback, spec.n_features)
        return LastOutput(torch.nn.GRU, shape, hidden=self.hidden, layers=self.layers, dropout=self.dropout)
