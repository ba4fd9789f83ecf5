"""Checkpoints: everything that a training needs to go on as if it had never stopped, without pickle.

    checkpoint/<number>/
        policy.safetensors      the weights as they are
        best.safetensors        the weights that did best on the validation bars so far, if any were judged
        optimizer.safetensors   what the optimiser remembers
        progress.json           counters and scores

A checkpoint is written beside its place and moved there when it is whole; then older ones are removed.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import attrs
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mnqcore.errors import DataError
from mnqcore.plugins.provenance import sha256_of_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Weights = Mapping[str, torch.Tensor]


@attrs.define(kw_only=True)
class Progress:
    """How far a training has come.

    `number` counts checkpoints, `timesteps` bars, `updates` passes through what was collected; `best` is the highest
    validation score, met at `best_at` bars, and `worse` counts the validations since; `scores` holds [bars, score].
    """

    number: int = 0
    timesteps: int = 0
    updates: int = 0
    best: float | None = None
    best_at: int = 0
    worse: int = 0
    scores: list[list[float]] = attrs.field(factory=list)


def write(
    folder: Path, progress: Progress, policy: Weights, best: Weights | None, optimizer: torch.optim.Optimizer
) -> None:
    """Write a checkpoint into a folder of checkpoints, and remove those before it."""
    unfinished = folder / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    memory, plain = _flat(optimizer)
    for name, weights in (("policy", policy), ("optimizer", memory), ("best", best)):
        if weights is not None:
            whole = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
            save_file(whole, unfinished / f"{name}.safetensors")
    sums = {path.name: sha256_of_file(path) for path in sorted(unfinished.iterdir())}
    document = {**attrs.asdict(progress), "plain": plain, "sha256": sums}
    (unfinished / "progress.json").write_text(json.dumps(document, indent=2, allow_nan=False), encoding="utf-8")
    unfinished.rename(folder / str(progress.number))
    for older in _numbers(folder):
        if older < progress.number:
            shutil.rmtree(folder / str(older), ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint in a folder of them, None where there is none."""
    numbers = _numbers(folder)
    return folder / str(max(numbers)) if numbers else None


def read(
    checkpoint: Path, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
    """Return progress, weights and best weights of a checkpoint; the optimiser takes what it remembered.

    Raises:
        DataError: a file is missing, cannot be read, or is not as it was written.
    """
    try:
        document = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
        plain, sums = document.pop("plain"), document.pop("sha256")
        if changed := [name for name, sha in sums.items() if sha256_of_file(checkpoint / name) != sha]:
            raise ValueError(f"{changed[0]} is not as it was written")
        progress = Progress(**document)
        policy, memory = (load_file(checkpoint / f"{name}.safetensors") for name in ("policy", "optimizer"))
        best = load_file(checkpoint / "best.safetensors") if progress.best is not None else None
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": _deep(memory, plain), "param_groups": groups})
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise DataError(
            "a checkpoint cannot be read",
            where=str(checkpoint),
            found=f"{error}".partition("\n")[0] or type(error).__name__,
            next="train anew, without --resume",
        ) from error
    return progress, policy, best


def _numbers(folder: Path) -> list[int]:
    return [int(child.name) for child in folder.glob("*") if child.name.isdecimal()]


def _flat(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return what an optimiser remembers as "parameter.name" -> tensor, and which of these are plain numbers."""
    flat: dict[str, torch.Tensor] = {}
    plain = []
    for index, entries in optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if not isinstance(value, torch.Tensor):
                plain.append(f"{index}.{name}")
            flat[f"{index}.{name}"] = torch.as_tensor(value)
    return flat, plain


def _deep(flat: Mapping[str, torch.Tensor], plain: list[str]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in flat.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value.item() if key in plain else value
    return state
