"""An extractor: look for a few short shapes in the window, and say how strongly each was there.

mnq run examples/one-file/strategies.toml -s shapes --stage train,backtest -p examples/one-file/shapes.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnqcore import ObservationSpec, Register, hookimpl, param, plugin

if TYPE_CHECKING:
    import torch


@plugin
class Shapes:
    """Slide learnt shapes over the window, as a convolution does, and keep where each of them fits best."""

    shapes: int = param(32, ge=1, le=4096, unit="shapes", help="how many, and the width of the answer", tune=(8, 128))
    length: int = param(6, ge=1, le=5000, unit="bars", help="of a shape; a shorter window cuts it", tune=(3, 24))

    def build(self, spec: ObservationSpec) -> torch.nn.Module:
        """Return a module from float32 (batch, lookback, n_features) to (batch, shapes)."""
        import torch  # here, so that listing plugins does not wait for it

        length = min(self.length, spec.lookback)

        class Network(torch.nn.Module):
            def __init__(self, shapes: int) -> None:
                super().__init__()
                self.slide = torch.nn.Conv1d(spec.n_features, shapes, length)

            def forward(self, windows: torch.Tensor) -> torch.Tensor:
                fits: torch.Tensor = self.slide(windows.transpose(1, 2))
                return fits.amax(dim=2)

            def encode_series(self, rows: torch.Tensor) -> torch.Tensor:
                """Return the answers of all windows of (bars, n_features) at once: each bar is slid over only once."""
                fits: torch.Tensor = self.slide(rows.T[None])[0]
                return fits.unfold(1, spec.lookback - length + 1, 1).amax(dim=2).T

        return Network(self.shapes)


@hookimpl
def register_extractors(register: Register) -> None:
    """Register the extractor."""
    register("shapes", Shapes)
