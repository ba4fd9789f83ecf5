"""The network of `attention`: transformer encoder layers, of which the last one asks for the last bar alone."""

from __future__ import annotations

from typing import cast

import torch  # noqa: TID253 - only `build` imports this module
from torch.nn import functional  # noqa: TID253

_WIDER = 4
"""The feed-forward part's inner width over the outer one."""
_POSITION = 0.02
"""Standard deviation of the positions before training: small beside the bars."""


class Layer(torch.nn.Module):
    """Attention, then a feed-forward part, each behind a norm and added to what came in."""

    def __init__(self, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before = torch.nn.LayerNorm(hidden)
        # No bias: one on the keys moves all scores alike, so training could only fill it with rounding errors.
        self.query = torch.nn.Linear(hidden, hidden, bias=False)
        self.key = torch.nn.Linear(hidden, hidden, bias=False)
        self.value = torch.nn.Linear(hidden, hidden, bias=False)
        self.mix = torch.nn.Linear(hidden, hidden)
        self.between = torch.nn.LayerNorm(hidden)
        self.wide = torch.nn.Linear(hidden, _WIDER * hidden)
        self.narrow = torch.nn.Linear(_WIDER * hidden, hidden)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, bars: torch.Tensor) -> torch.Tensor:
        """Return what every bar makes of all, (batch, lookback, hidden)."""
        known = self.before(bars)
        query, key, value = (self._by_head(part(known)) for part in (self.query, self.key, self.value))
        seen = functional.scaled_dot_product_attention(query, key, value)
        return self._onwards(bars, seen.transpose(1, 2).flatten(2))

    def last(self, bars: torch.Tensor) -> torch.Tensor:
        """Return what the last bar makes of all, (batch, hidden): `forward(bars)[:, -1]`, but for rounding.

        With one query, score = (W_q x) . (W_k y) = (W_k' W_q x) . y and sum a (W_v y) = W_v (sum a y): keys and values
        are never made, and the two products over all bars are those with the few heads.
        """
        known = self.before(bars)
        batch, width = len(bars), bars.shape[2] // self.heads
        query: torch.Tensor = self.query(known[:, -1]).view(batch, self.heads, width).transpose(0, 1)
        asked = query @ self.key.weight.view(self.heads, width, -1)  # (heads, batch, hidden)
        scores = asked.transpose(0, 1) @ known.transpose(1, 2)
        seen = torch.softmax(scores / width**0.5, dim=2) @ known  # (batch, heads, hidden)
        value = seen.transpose(0, 1) @ self.value.weight.view(self.heads, width, -1).transpose(1, 2)
        return self._onwards(bars[:, -1], value.transpose(0, 1).flatten(1))

    def _by_head(self, rows: torch.Tensor) -> torch.Tensor:
        batch, bars, hidden = rows.shape
        return rows.view(batch, bars, self.heads, hidden // self.heads).transpose(1, 2)

    def _onwards(self, bars: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        bars = bars + self.dropout(self.mix(seen))
        # Smooth: at the kink of a ReLU, training would make a step of a rounding error.
        wide = functional.gelu(self.wide(self.between(bars)))
        onwards: torch.Tensor = bars + self.dropout(self.narrow(wide))
        return onwards


class LastBar(torch.nn.Module):
    """Encoder layers over a window of `shape` (lookback, features), read at its last bar."""

    def __init__(self, shape: tuple[int, int], *, hidden: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        lookback, features = shape
        self.enter = torch.nn.Linear(features, hidden)
        self.position = torch.nn.Parameter(_POSITION * torch.randn(lookback, hidden))
        self.layers = torch.nn.ModuleList(Layer(hidden, heads, dropout) for _ in range(layers))
        self.leave = torch.nn.LayerNorm(hidden)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return (batch, hidden) of windows (batch, lookback, features)."""
        bars = self.enter(windows) + self.position
        *whole, final = cast("list[Layer]", list(self.layers))
        for layer in whole:
            bars = layer(bars)
        latent: torch.Tensor = self.leave(final.last(bars))
        return latent
