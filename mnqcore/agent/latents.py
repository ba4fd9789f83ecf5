"""What an extractor makes of every window, worked out once: in batches, and kept on disk for the next run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mnqcore.errors import PluginError
from mnqcore.plugins.blame import reason

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mnqcore.agent.policy import TradingPolicy
    from mnqcore.api.values import Window

    Floats = NDArray[np.float32]

_BATCH = 128  # windows: what is read stays in the processor's cache
_SERIES = 8192  # bars of a series encoded in one piece
_SAMPLE = 64  # windows that a series is checked on
_RECHECKED = 8  # windows that kept latents are checked on
_WITHIN = 1e-5
_ROUNDING = 1e-3
"""What a series may differ by before it counts as another answer: large weights blow up how sums are rounded."""
_KEPT = 16
"""Files: those of a walk-forward run of 4 folds and 4 seeds, one a model; 100,000 bars of width 64 take 26 MB."""


def latents(
    policy: TradingPolicy, features: Floats, lookback: int, window: Window, folder: Path | None = None
) -> Floats:
    """Return the latent of the window that ends with each bar, float32 (bars, latent); NaN outside `window`.

    Args:
        policy: whose extractor encodes; it is put into evaluation mode.
        features: (bars, n_features), scaled, of the whole tape.
        lookback: bars of a window.
        window: the bars whose latents are wanted; the first one has `lookback` - 1 bars before it.
        folder: where latents are kept by the sha256 of weights and features; None, or one that cannot be written:
            nowhere. What lies there broken, or was made by another version of the extractor, is made anew.

    Raises:
        PluginError: the extractor's `encode_series` raises, or differs from its windows by more than rounding.
    """
    if window.first < lookback - 1:
        raise ValueError(f"bar {window.first} has no {lookback} bars up to it")
    policy.set_training_mode(False)
    rows = np.array(features[window.first - lookback + 1 : window.last + 1], np.float32, order="C")
    at = _sample(window.bars, _RECHECKED)
    alone = _at(policy, rows, lookback, at)
    found = np.empty((len(features), alone.shape[1]), np.float32)
    found[: window.first] = found[window.last + 1 :] = np.nan
    wanted = found[window.first : window.last + 1]
    path = None if folder is None else folder / f"{_key(policy, rows, lookback)}.npy"
    if path is None or not _read(path, wanted) or not _alike(wanted[at], alone):
        wanted[:] = _encode(policy, rows, lookback)
        _keep(path, wanted)
    return found


def _encode(policy: TradingPolicy, rows: Floats, lookback: int) -> Floats:
    """Return (bars - lookback + 1, latent)."""
    network: Any = policy.features_extractor.network
    if hasattr(network, "encode_series"):
        at_once = _in_pieces(network, torch.from_numpy(rows), lookback, policy.device)
        if _is_true(policy, network, at_once, rows, lookback):
            return at_once
    count = len(rows) - lookback + 1
    found: Floats | None = None
    for begin in range(0, count, _BATCH):
        at = np.arange(begin, min(begin + _BATCH, count))
        part = _at(policy, rows, lookback, at)
        found = np.empty((count, part.shape[1]), np.float32) if found is None else found
        found[at] = part
    assert found is not None
    return found


def _at(policy: TradingPolicy, rows: Floats, lookback: int, starts: NDArray[np.int64]) -> Floats:
    """Return the latents of the windows that start at these rows; only they are laid out in memory."""
    windows = torch.from_numpy(rows).unfold(0, lookback, 1).transpose(1, 2)[torch.from_numpy(starts)]
    with torch.inference_mode():
        found: Floats = policy.encode(windows.contiguous().to(policy.device)).float().cpu().numpy()
    return found


def _in_pieces(network: Any, rows: torch.Tensor, lookback: int, device: torch.device) -> Floats:
    """Encode a series piece by piece: one of any length needs no more memory than that."""
    count, found = len(rows) - lookback + 1, []
    for begin in range(0, count, _SERIES):
        piece = rows[begin : min(begin + _SERIES, count) + lookback - 1].to(device)
        try:
            with torch.inference_mode():
                part = np.asarray(network.encode_series(piece).float().cpu().numpy())
        except Exception as error:
            raise _broken(network, f"it raised {reason(error)}") from error
        if part.ndim != 2 or len(part) != len(piece) - lookback + 1:
            raise _broken(network, f"it returned shape {part.shape} for {len(piece)} bars and windows of {lookback}")
        found.append(part)
    return np.concatenate(found)


def _is_true(policy: TradingPolicy, network: Any, encoded: Floats, rows: Floats, lookback: int) -> bool:
    """Return whether a series says what its windows say one by one; False where only rounding parts them."""
    at = _sample(len(encoded), _SAMPLE)
    alone = _at(policy, rows, lookback, at)
    if not _alike(encoded[at], alone, _ROUNDING):
        off = np.abs(encoded[at] - alone).max() if alone.shape == encoded[at].shape else f"of shape {alone.shape}"
        raise _broken(network, f"it differs from the windows one by one, by {off}")
    return _alike(encoded[at], alone)


def _alike(found: Floats, expected: Floats, within: float = _WITHIN) -> bool:
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=within, atol=within))


def _sample(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def _broken(network: Any, wrong: str) -> PluginError:
    owner = type(network)
    return PluginError(
        f"encode_series of an extractor broke its contract: {wrong}",
        who=f"{owner.__module__}.{owner.__qualname__}",
        next="return what the network makes of each window, within 1e-5; or leave encode_series out",
    )


def _key(policy: TradingPolicy, rows: Floats, lookback: int) -> str:
    """Return the sha256 of all that latents follow from, but for the code of the extractor."""
    encoder = policy.features_extractor
    digest = hashlib.sha256(repr((lookback, rows.shape, type(encoder.network).__qualname__)).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(repr((name, tuple(weight.shape), str(weight.dtype))).encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    digest.update(rows.data)
    return digest.hexdigest()


def _read(path: Path, out: Floats) -> bool:
    """Fill `out` from a file and return True; False where it does not hold just that."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(out))
    expected = header.getvalue()  # compared as it stands: a parser would have to bear anything
    try:
        with path.open("rb") as file:
            if file.read(len(expected)) != expected:
                return False
            whole = file.readinto(out.data) == out.nbytes and not file.read(1)
        os.utime(path)  # the newest are kept
    except OSError:
        return False
    return whole and bool(np.isfinite(out.sum()))


def _keep(path: Path | None, encoded: Floats) -> None:
    """Write a file where that is wanted and can be done."""
    if path is not None:
        with contextlib.suppress(OSError):
            _write(path, encoded)


def _write(path: Path, encoded: Floats) -> None:
    """Write a file as a whole or not at all, and remove all but the newest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, encoded, allow_pickle=False)
            file.flush()
            os.fsync(descriptor)  # else a crash may leave a whole file of zeros
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    kept = sorted(path.parent.glob("*.npy"), key=lambda other: other.stat().st_mtime_ns)
    for other in kept[:-_KEPT]:
        other.unlink(missing_ok=True)
