"""A model on disk: a folder of plain data, from which no code is ever run.

    manifest.json        plugins and parameters, where the model comes from, size and sha256 of every other file
    policy.safetensors   the weights; a learner of another make writes files of its own, .safetensors or .json
    scaler.json          mean and deviation of each feature over the training bars
    probe.json           what the feature sets and the extractor make of canned bars

Loading checks sizes and sums before it reads anything else, builds the plugins from what is installed here, and
computes the probe again.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.agent import choices, files, probe
from mnqcore.agent.model import Facts, FeedFacts, Model, Report, versions
from mnqcore.api.values import ModelSpec, ObservationSpec
from mnqcore.errors import DataError, MnqError, UsageError
from mnqcore.market.instruments import Instrument
from mnqcore.plugins.provenance import sha256_of_file
from mnqcore.strategy import reading
from mnqcore.tape.calls import asked
from mnqcore.tape.naming import broken
from mnqcore.tape.scaler import Scaler

if TYPE_CHECKING:
    from pathlib import Path

    from mnqcore.plugins import Plugins

SCHEMA = "mnq.model/1"
_OWN = ("manifest.json", "scaler.json", "probe.json")
_KEYS = frozenset(
    ("schema", "facts", "instrument", "lookback", "names", "features", "extractor", "agent", "versions", "files")
)
_SHOWN = 4  # columns that a message names


def save(folder: Path, model: Model) -> None:
    """Write a model into a folder that does not exist yet: whole, or not at all.

    Raises:
        UsageError: there is something of that name.
        DataError: a weight is NaN or infinite, or the learner wrote something that has no place in a model.
        PluginError: a plugin raised or broke its contract.
        MnqError: it cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError("a model is not written over what is there", where=str(folder), next="name another folder")
    partial = folder.with_name(f".partial-{folder.name}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(partial, model)
        partial.rename(folder)
    except OSError as error:
        raise MnqError("the model cannot be written", where=str(folder), found=str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load(folder: Path, plugins: Plugins) -> Model:
    """Return the model of a folder, once its files are seen to be sound and to compute here what they did there.

    Its `report` says whether that is so to the last bit, and which versions have changed.

    Raises:
        DataError: a file is missing, unknown, changed, too large or no plain data, or something is computed otherwise:
            it is named.
        PluginError: a plugin of the model is missing, takes other parameters by now, or raised.
    """
    manifest = files.unseal(folder, SCHEMA)
    if manifest.keys() - {"feeds"} != _KEYS:  # only a model with feeds names them
        raise files.refused(folder / files.MANIFEST, f"its keys are not {', '.join(sorted(_KEYS))}")
    model, changed = _read(folder, manifest, plugins)
    document = files.read_json(folder / "probe.json")
    rounded, other = probe.compared(model, document)
    if other:
        raise _computes_otherwise(folder, _named(other, model), changed)
    report = Report(bit_equal=not rounded, differing=tuple(_named(rounded, model)), changed=tuple(changed))
    return attrs.evolve(model, report=report, sha256=sha256_of_file(folder / files.MANIFEST))


def _write(folder: Path, model: Model) -> None:
    asked(model.agent, "save", model.learner.save, folder)
    if taken := sorted(path.name for path in folder.iterdir() if path.name in _OWN):
        raise broken(model.agent, f"it wrote {taken[0]}, which is a file of mnq's own", "take another name")
    files.write_json(folder / "scaler.json", model.scaler.to_json())
    files.write_json(folder / "probe.json", probe.probe(model))
    facts = attrs.asdict(model.facts)
    feeds = {
        name: {"instrument": attrs.asdict(instrument), **attrs.asdict(known)}
        for name, (instrument, known) in model.feeds.items()
    }
    document = {
        "schema": SCHEMA,
        "facts": facts,
        "instrument": attrs.asdict(model.instrument),
        "lookback": model.spec.observation.lookback,
        "names": list(model.spec.observation.names),
        "features": {name: choices.described(choice) for name, choice in model.features.items()},
        "extractor": choices.described(model.extractor),
        "agent": choices.described(model.agent),
        "versions": dict(model.versions),
        **({"feeds": feeds} if feeds else {}),
    }
    try:
        files.seal(folder, document)
    except DataError as error:
        raise broken(
            model.agent, f"what it has saved is refused: {error.what}", "save .safetensors and .json"
        ) from error


def _read(folder: Path, manifest: dict[str, Any], plugins: Plugins) -> tuple[Model, list[str]]:
    """Return the model that a manifest describes, and what has another version here."""
    spec_names, lookback = _shape(folder, manifest)
    wanted = [("features", f"features.{name}", one) for name, one in _table(folder, manifest, "features").items()]
    wanted += [(kind, kind, manifest[kind]) for kind in ("extractor", "agent")]
    found = {key: choices.found(kind, document, plugins) for kind, key, document in wanted}
    changed = [
        f"{choice.distribution} {then} now {choice.version}"
        for choice, then in found.values()
        if then != choice.version
    ]
    kept = {name: str(text) for name, text in _table(folder, manifest, "versions").items()}
    changed += [f"{name} {kept.get(name)} now {now}" for name, now in versions().items() if kept.get(name) != now]
    extractor, agent = found["extractor"][0], found["agent"][0]
    shape = ObservationSpec(lookback=lookback, n_features=len(spec_names), names=spec_names)
    spec = ModelSpec(observation=shape, extractor=asked(extractor, "__init__", extractor.build))
    learner = asked(agent, "__init__", agent.build)
    asked(agent, "load", learner.load, folder, spec)
    model = Model(
        learner=learner,
        agent=agent,
        extractor=extractor,
        features={key.removeprefix("features."): one for key, (one, _) in found.items() if key.startswith("features.")},
        spec=spec,
        scaler=_scaler(folder, spec_names),
        instrument=_values(folder, manifest, "instrument", Instrument),
        facts=_values(folder, manifest, "facts", Facts),
        feeds=_feeds(folder, manifest, found),
        versions=kept,
    )
    return model, sorted(set(changed))


def _feeds(
    folder: Path, manifest: dict[str, Any], found: dict[str, tuple[Any, str]]
) -> dict[str, tuple[Instrument, FeedFacts]]:
    """Return name -> instrument and facts of the feeds, on which each feature set has a place."""
    feeds = {}
    for name, known in _table(folder, {"feeds": {}, **manifest}, "feeds").items():
        if not isinstance(known, dict):
            raise files.refused(folder / files.MANIFEST, f"feed {files.plain(name)} must be an object")
        rest = {key: value for key, value in known.items() if key != "instrument"}
        instrument = _values(folder, {"instrument": None, **known}, "instrument", Instrument)
        feeds[name] = instrument, _values(folder, {"feeds": rest}, "feeds", FeedFacts)
    if lost := sorted({choice.on for choice, _ in found.values() if choice.on} - feeds.keys()):
        raise files.refused(folder / files.MANIFEST, f"it has no feed {files.plain(lost[0])}")
    return feeds


def _scaler(folder: Path, names: tuple[str, ...]) -> Scaler:
    scaler = Scaler.from_json(files.read_json(folder / "scaler.json"))
    if scaler.names != names:
        raise files.refused(folder / "scaler.json", f"it scales {files.plain(', '.join(scaler.names)) or 'nothing'}")
    return scaler


def _shape(folder: Path, manifest: dict[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return names of the features and length of the window."""
    names, lookback = manifest["names"], manifest["lookback"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise files.refused(folder / files.MANIFEST, "it names no features")
    if type(lookback) is not int or not 1 <= lookback <= 10_000:
        raise files.refused(folder / files.MANIFEST, f"lookback must be from 1 to 10000, was {files.plain(lookback)}")
    return tuple(names), lookback


def _table(folder: Path, manifest: dict[str, Any], key: str) -> dict[str, Any]:
    found = manifest[key]
    if not isinstance(found, dict):
        raise files.refused(folder / files.MANIFEST, f"{key} must be an object")
    return found


def _values(folder: Path, manifest: dict[str, Any], key: str, cls: type) -> Any:
    """Return one of the manifest's objects as its class."""
    try:
        return reading.read(cls, _table(folder, manifest, key))
    except DataError:
        raise
    except Exception as error:  # whatever cattrs, or the class itself, raises
        reasons = "; ".join(fault.message for fault in reading.faults(error, cls))
        raise files.refused(folder / files.MANIFEST, f"{key}: {files.plain(reasons)}") from error


def _named(keys: list[str], model: Model) -> list[str]:
    """Return columns as they are called, and what the extractor or the learner makes of them as one."""
    names = model.spec.observation.names
    columns = [key for key in keys if key in names or not key.startswith(("output ", "actions"))]
    if len(columns) < len(keys):
        acts = "actions" in keys
        columns.append(f"the actions of {model.agent.name}" if acts else f"the output of {model.extractor.name}")
    return columns


def _computes_otherwise(folder: Path, names: list[str], changed: list[str]) -> DataError:
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return DataError(
        "this model computes other values here than where it was saved",
        where=str(folder),
        found=f"other values in {shown}",
        why="changed since: " + ("; ".join(changed) if changed else "no version; was a plugin edited?"),
        next="install the versions that it was saved with, or train it again",
    )
