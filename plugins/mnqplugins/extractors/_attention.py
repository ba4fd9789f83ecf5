"""The network of `attention`: transformer encoder layers, of which the last one asks for the last bar alone."""

from __future__ import annotations

from typing import cast

import torch  # noqa: TID253 - only `build` imports this module
from torch.nn import functional  # noqa: TID253

_WIDER = 4
"""The feed-forward part's inner width over the outer one."""
_BATCH = 128
"""Windows encoded at once: what is read stays in the processor's cache."""
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
        scores = self._asked(known[:, -1]).transpose(0, 1) @ known.transpose(1, 2)
        seen = torch.softmax(scores / self._width**0.5, dim=2) @ known
        return self._onwards(bars[:, -1], self._valued(seen))

    def last_of_each(self, entered: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """Return `last` of every window of a series, but for rounding.

        A window's bar is e + p, a row of `entered` (bars, hidden) and one of `position` (lookback, hidden). Its norm
        has the deviation var(e) + var(p) + 2 cov(e, p), so that no window is laid out: with rows less their mean, a
        score is query . (e + p) over that deviation, and so is what the bar adds to the sum that is weighed.
        """
        lookback, width = position.shape
        bars, places = (rows - rows.mean(1, keepdim=True) for rows in (entered, position))
        spread = bars.square().mean(1)[:, None] + places.square().mean(1) + 2 / width * (bars @ places.T)
        # Bar k of window n is row n + k: the diagonals of (bars, lookback), and rows of an overlapping view.
        count = len(entered) - lookback + 1
        shrink = torch.rsqrt(spread + self.before.eps).as_strided((count, 1, lookback), (lookback, 1, lookback + 1))
        windows = bars.as_strided((count, lookback, width), (width, width, 1))
        final = entered[lookback - 1 :] + position[-1]
        parts = [slice(at, at + _BATCH) for at in range(0, count, _BATCH)]
        return torch.cat([self._last_of(final[part], windows[part], places, shrink[part]) for part in parts])

    def _last_of(
        self, final: torch.Tensor, windows: torch.Tensor, places: torch.Tensor, shrink: torch.Tensor
    ) -> torch.Tensor:
        asked = self._asked(self.before(final)).transpose(0, 1) * self.before.weight
        scores = torch.baddbmm(asked @ places.T, asked, windows.transpose(1, 2)) * shrink
        share = torch.softmax(scores / self._width**0.5, dim=2) * shrink  # the norm's bias moves all scores alike
        seen = torch.baddbmm(share @ places, share, windows) * self.before.weight + self.before.bias
        return self._onwards(final, self._valued(seen))

    @property
    def _width(self) -> int:
        """How wide a head is."""
        return self.query.out_features // self.heads

    def _asked(self, known: torch.Tensor) -> torch.Tensor:
        """Return what each head looks for in a bar, (heads, batch, hidden), of (batch, hidden)."""
        query: torch.Tensor = self.query(known).view(len(known), self.heads, self._width).transpose(0, 1)
        return query @ self.key.weight.view(self.heads, self._width, -1)

    def _valued(self, seen: torch.Tensor) -> torch.Tensor:
        """Return what the heads make of what they saw, (batch, hidden), of (batch, heads, hidden)."""
        value = seen.transpose(0, 1) @ self.value.weight.view(self.heads, self._width, -1).transpose(1, 2)
        return value.transpose(0, 1).flatten(1)

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

    def encode_series(self, rows: torch.Tensor) -> torch.Tensor:
        """Return `forward` of every window of rows (bars, features), (bars - lookback + 1, hidden): for evaluation."""
        if len(self.layers) == 1:
            only = cast("Layer", self.layers[0])
            latent: torch.Tensor = self.leave(only.last_of_each(self.enter(rows), self.position))
            return latent
        windows = rows.unfold(0, len(self.position), 1).transpose(1, 2)
        return torch.cat([self(windows[at : at + _BATCH].contiguous()) for at in range(0, len(windows), _BATCH)])
