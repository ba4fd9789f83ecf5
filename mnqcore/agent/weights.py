"""Weights on disk: safetensors only, and nothing is read that the network at hand has no place for."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from mnqcore.agent.files import plain, read_capped
from mnqcore.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LENGTH = 8  # bytes at the start of a file that say how long its header is
_PER_WEIGHT = 256  # bytes that the header may spend on a weight, beside six for each character of its name
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""Type of a weight -> its name in a file."""


def write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Write name -> weight as safetensors; the same weights give the same bytes.

    Raises:
        DataError: a weight is NaN or infinite, or of a type that such a file does not hold.
    """
    _refuse_unsound(weights, path, "the training went astray: try a smaller learning_rate")
    for name, weight in weights.items():
        if weight.dtype not in _NAMES:
            raise DataError("a weight cannot be saved", where=str(path), found=f"{name} is {weight.dtype}")
    # Copies, for weights that share memory are refused; without metadata, whose order is not stable.
    path.write_bytes(save({name: weight.detach().cpu().contiguous().clone() for name, weight in weights.items()}))


def read_weights(path: Path, expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return name -> weight, on the CPU, of a file that `write_weights` wrote.

    Args:
        path: the file; it is read only if it is no larger than what is expected can be.
        expected: name -> a tensor of the type and shape that the weight must have.

    Raises:
        DataError: the file is no such file, is too large or cut short, holds NaN or infinite weights, or other weights
            than those expected: the text names them.
    """
    content = read_capped(path, _largest(expected), "the network at hand needs")
    header = _header(path, content)
    if wrong := _differing(header, expected):
        raise _refused(path, "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""))
    try:
        weights: dict[str, torch.Tensor] = load(content)
    except (SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise _refused(path, plain(error)) from error
    _refuse_unsound(weights, path, "take another model")
    return weights


def _largest(expected: Mapping[str, torch.Tensor]) -> int:
    """Return how many bytes a file with these weights has at most."""
    header = _PER_WEIGHT + sum(_PER_WEIGHT + 6 * len(name) for name in expected)
    return _LENGTH + header + sum(weight.numel() * weight.element_size() for weight in expected.values())


def _header(path: Path, content: bytes) -> dict[str, Any]:
    """Return name -> dtype, shape and place of each weight, as the file's own header has it."""
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    if len(content) < _LENGTH or end > len(content):
        raise _refused(path, f"{len(content)} bytes, its header alone would end at {end}")
    try:
        header = json.loads(content[_LENGTH:end], object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _refused(path, "its header is no JSON: this is no safetensors file") from error
    if not isinstance(header, dict) or not all(isinstance(one, dict) for one in header.values()):
        raise _refused(path, "its header lists no weights")
    return header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _differing(header: dict[str, Any], expected: Mapping[str, torch.Tensor]) -> list[str]:
    """Return what a file lacks, has too much, or has of another type or shape."""
    lacking = [f"it lacks {name}" for name in sorted(expected.keys() - header.keys())]
    extra = [f"nothing takes its {plain(name)}" for name in sorted(header.keys() - expected.keys())]
    other = []
    for name in sorted(expected.keys() & header.keys()):
        wanted = (_NAMES.get(expected[name].dtype), list(expected[name].shape))
        given = (header[name].get("dtype"), header[name].get("shape"))
        if given != wanted:
            other.append(f"{name} is {_described(*given)}, not {_described(*wanted)}")
    return [*lacking, *extra, *other]


def _described(dtype: object, shape: object) -> str:
    return plain(f"{dtype} {shape}")


def _refuse_unsound(weights: Mapping[str, torch.Tensor], path: Path, hint: str) -> None:
    unsound = [name for name, weight in weights.items() if not math.isfinite(_worst(weight))]
    if unsound:
        raise DataError("weights are NaN or infinite", where=str(path), found=", ".join(sorted(unsound)[:3]), next=hint)


def _worst(weight: torch.Tensor) -> float:
    """Return 0, or NaN where a value of the weight is not finite."""
    return 0.0 if bool(torch.isfinite(weight).all()) else math.nan


def _refused(path: Path, why: str) -> DataError:
    return DataError(
        f"{path.name} holds no weights for this model",
        where=str(path.parent),
        found=why,
        next="take the model as it was saved, or train it again",
    )
