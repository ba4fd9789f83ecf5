"""Takes up a training that was interrupted, once it is seen to be the same one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.errors import DataError, UsageError

if TYPE_CHECKING:
    from mnqcore.plugins import Plugins
    from mnqcore.runs import Draft
    from mnqcore.stages.options import Options
    from mnqcore.stages.prepare import Prepared
    from mnqcore.strategy.model import Strategy

INPUTS = "inputs.json"
"""In the folder of a run that trains: what its checkpoints follow from beside the strategy."""
_LEFT = ("checkpoint", "units", "tensorboard")
_CHECKPOINTS = "checkpoint/*/progress.json"
_NAMES = ("*-interrupted*", ".partial-*")
_FRESH = "or train anew, without --resume"


@attrs.frozen(kw_only=True)
class Inputs:
    """What a training follows from beside its strategy: hashes of bars and features, seeds, `-p` files."""

    data_sha256: str
    features_sha256: str
    seeds: int
    plugins: dict[str, str]


def note_inputs(prepared: Prepared, draft: Draft, options: Options) -> None:
    """Write what the training follows from into the run being made."""
    document = attrs.asdict(_inputs(prepared, draft, options))
    (draft.folder / INPUTS).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def take_up(options: Options, draft: Draft, prepared: Prepared, plugins: Plugins) -> None:
    """Copy what an interrupted training left into the run being made; nothing, where none is to be resumed.

    Raises:
        UsageError: there is nothing to resume, or it is another training: says what differs.
        DataError: what was left cannot be read.
    """
    if options.resume is None:
        return
    run, strategy = _folder(Path(options.resume), draft.base), prepared.strategy
    before = _refuse_other_strategy(run, strategy, plugins)
    _refuse_other_inputs(run, _inputs(prepared, draft, options))
    for child in run.iterdir():
        if child.name in _LEFT:
            shutil.copytree(child, draft.folder / child.name)
        elif child.name.startswith("progress"):
            shutil.copyfile(child, draft.folder / child.name)
    if before.agent.params != strategy.agent.params:  # what was done then is not done now
        for result in draft.folder.glob("units/*/result.json"):
            result.unlink()


def _folder(given: Path, base: Path) -> Path:
    for folder in (given, base / given):
        if any(folder.rglob(_CHECKPOINTS)):
            return folder
    left = [str(one) for name in _NAMES for one in sorted(base.glob(f"*/{name}")) if any(one.rglob(_CHECKPOINTS))]
    raise UsageError(
        "there is no checkpoint to go on from",
        where=str(given),
        next=f"there is one in {', '.join(left[:3])}" if left else "train anew, without --resume",
    )


def _refuse_other_strategy(run: Path, strategy: Strategy, plugins: Plugins) -> Strategy:
    from mnqcore.strategy import load

    timesteps = strategy.agent.params.get("timesteps")
    settings = [] if timesteps is None else [f"agent.timesteps={timesteps}"]
    before = load(run / "resolved.toml", None, plugins, settings)
    if before.digest() != strategy.digest():
        raise UsageError(
            "the training to resume is of another strategy",
            where=str(run),
            next=f"see {run / 'resolved.toml'}: only agent.timesteps may differ; {_FRESH}",
        )
    before = load(run / "resolved.toml", None, plugins)
    if timesteps is not None and timesteps != before.agent.params["timesteps"]:
        _refuse_unlike_length(run, strategy.agent.params)
    return before


def _refuse_unlike_length(run: Path, params: dict[str, Any]) -> None:
    """Refuse another length where the result would be that of no training from beginning to end."""
    if params.get("schedule") == "linear":
        raise UsageError(
            "a training whose learning rate falls to its end cannot be resumed with another length",
            where=str(run),
            next=f"leave agent.timesteps as it was, {_FRESH}",
        )
    done = max(_read(path)["timesteps"] for path in run.rglob(_CHECKPOINTS))
    if done > params["timesteps"]:
        raise UsageError(
            "the training to resume is longer than asked for",
            where=str(run),
            found=f"{done:,} bars done, agent.timesteps = {params['timesteps']:,}",
            next=f"ask for more, {_FRESH}",
        )


def _refuse_other_inputs(run: Path, now: Inputs) -> None:
    before = Inputs(**_read(run / INPUTS))
    words = {"data_sha256": "the bars", "features_sha256": "the features", "plugins": "the -p files"}
    differing = [text for name, text in words.items() if getattr(before, name) != getattr(now, name)]
    differing += [f"--seeds (was {before.seeds})"] if before.seeds != now.seeds else []
    if differing:
        raise UsageError(
            "the training to resume was made with something else",
            where=str(run),
            found=f"these differ: {', '.join(differing)}",
            next=f"give it the same as before, {_FRESH}",
        )


def _inputs(prepared: Prepared, draft: Draft, options: Options) -> Inputs:
    from mnqcore.plugins.provenance import sha256_of_file
    from mnqcore.stages.fingerprint import sha256_of

    return Inputs(
        data_sha256=prepared.facts["data_sha256"],
        features_sha256=sha256_of(prepared.tape.features),
        seeds=options.seeds,
        plugins={path.name: sha256_of_file(path) for path in sorted((draft.folder / "plugins").glob("*.py"))},
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            "what an interrupted training left cannot be read",
            where=str(path),
            found=f"{error}".partition("\n")[0],
            next="train anew, without --resume",
        ) from error
    return found
