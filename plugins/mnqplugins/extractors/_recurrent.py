"""The network of `lstm` and `gru`."""

from __future__ import annotations

import torch  # noqa: TID253 - only `build` imports this module


class LastOutput(torch.nn.Module):
    """A recurrent network of which only the output after the window's last bar is kept.

    `shape`: of a window, (lookback, features).
    """

    def __init__(
        self,
        cell: type[torch.nn.LSTM | torch.nn.GRU],
        shape: tuple[int, int],
        *,
        hidden: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.lookback, features = shape
        between = dropout if layers > 1 else 0.0  # torch warns of dropout that has nothing to stand between
        self.memory = cell(features, hidden, layers, batch_first=True, dropout=between)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return (batch, hidden) of windows (batch, lookback, features)."""
        outputs, _ = self.memory(windows)
        hidden: torch.Tensor = self.dropout(outputs[:, -1])
        return hidden

    def encode_series(self, rows: torch.Tensor) -> torch.Tensor:
        """Return `forward` of every window of rows (bars, features), (bars - lookback + 1, hidden): for evaluation."""
        from mnqplugins.extractors._series import outputs

        return outputs(self.memory, rows.cpu(), self.lookback).to(rows.device)
