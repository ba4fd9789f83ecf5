"""The probe of a model: what its feature sets and its extractor make of canned bars, kept to be computed again.

    probe.json
        columns   column -> sha256 of its float64 values, their standard deviation, and 63 of the values
        encoded   the same of what the extractor makes of windows; of a learner without one, its actions

A model that is loaded must compute the same. Equal bits are the rule; other machines and versions round otherwise,
which is accepted up to a share of each column's standard deviation, and said. More is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pandas as pd
import torch

from mnqcore.agent.canned import BARS, canned_features, canned_view, with_feeds
from mnqcore.agent.files import plain
from mnqcore.api.values import Action
from mnqcore.errors import DataError, PluginError
from mnqcore.tape.calls import asked, features
from mnqcore.tape.naming import broken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mnqcore.agent.model import FeedFacts, Model
    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.model import Choice

    Floats = NDArray[np.float64]

SCHEMA = "mnq.probe/1"
TOLERANCE = 1e-6
"""Share of its standard deviation by which a value of a feature column may differ."""
ENCODED_TOLERANCE = 1e-5
"""The same of what the extractor makes of a window."""
_ENCODED = np.arange(BARS // 2, BARS, 4)  # the bars whose windows are encoded: features need a history
_KEPT = slice(None, None, 4)  # of these, the ones whose values are kept
_BATCH = 50  # windows: fixed, for the size of a batch decides how sums are ordered
_ROUNDING = 1e-9  # of a column's largest value: what its deviation counts as at least
_FLAT = np.array([0.0, 0.0, 0.0, 1.0], np.float32)  # position_info of an account that has not traded yet


@attrs.frozen(eq=False)
class Fingerprint:
    """What is kept of a column: its sum over all rows, its standard deviation, and the values of some rows."""

    sha256: str
    deviation: float
    values: Floats

    @classmethod
    def of(cls, column: NDArray[Any], kept: NDArray[np.int64] | slice) -> Fingerprint:
        """Return the fingerprint of a column; of the rows `kept` the values stay."""
        # One NaN and one zero, of all there are.
        values = np.where(np.isnan(column), np.nan, column).astype("<f8") + 0.0
        known = values[~np.isnan(values)]
        deviation = float(known.std()) if len(known) else 0.0
        return cls(hashlib.sha256(values.tobytes()).hexdigest(), deviation, values[kept].copy())

    @classmethod
    def from_json(cls, document: Any) -> Fingerprint:
        """Return what `to_json` wrote; KeyError, TypeError or ValueError where it is something else."""
        values = [np.nan if value is None else value for value in document["values"]]
        if document.keys() != {"sha256", "deviation", "values"}:
            raise ValueError(f"unknown keys among {', '.join(document)}")
        return cls(str(document["sha256"]), float(document["deviation"]), np.array(values, np.float64))

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object; NaN becomes null."""
        values = [None if np.isnan(value) else value for value in self.values.tolist()]
        return {"sha256": self.sha256, "deviation": self.deviation, "values": values}

    def is_near(self, other: Fingerprint, tolerance: float) -> bool:
        """Whether the values differ by rounding at most; NaN equals NaN."""
        if self.values.shape != other.values.shape:
            return False
        known = np.abs(self.values[~np.isnan(self.values)])
        scale = max(self.deviation, _ROUNDING * float(known.max(initial=0.0)))
        return bool(np.allclose(other.values, self.values, rtol=0.0, atol=tolerance * scale, equal_nan=True))


def probe(model: Model) -> dict[str, Any]:
    """Return a model's probe as the JSON object that is saved with it.

    Raises:
        PluginError: a plugin raised or broke its contract on the canned bars.
    """
    columns, encoded = _fingerprints(model)
    return {
        "schema": SCHEMA,
        "bars": BARS,
        "columns": {name: one.to_json() for name, one in columns.items()},
        "encoded": {name: one.to_json() for name, one in encoded.items()},
    }


def compared(model: Model, document: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what the model computes otherwise than a saved probe says: by rounding at most, and by more.

    Args:
        model: as it was loaded.
        document: what `probe` returned when it was saved.

    Raises:
        DataError: the document is no probe.
        PluginError: a plugin raised or broke its contract on the canned bars.
    """
    before = _read(document)
    rounded, other = [], []
    for kept, now, tolerance in zip(before, _fingerprints(model), (TOLERANCE, ENCODED_TOLERANCE), strict=True):
        for name in [*now, *(kept.keys() - now.keys())]:
            if name not in kept or name not in now or not kept[name].is_near(now[name], tolerance):
                other.append(name)
            elif kept[name].sha256 != now[name].sha256:
                rounded.append(name)
    return rounded, other


def canned_columns(
    choices: Mapping[str, Choice],
    instrument: Instrument,
    bar_size: str,
    *,
    rth: bool,
    further: Sequence[str] = (),
    feeds: Mapping[str, tuple[Instrument, FeedFacts]] = MappingProxyType({}),
) -> pd.DataFrame:
    """Return what feature sets make of the canned bars, float64, as NAME.column.

    A set on a feed is given canned bars of that feed, and its rows stand by their number: canned bars of another length
    lie elsewhere in time, and what is tried is the set, not the join.

    Call it before a long training: what raises on these bars could not be saved.

    Raises:
        PluginError: a feature set raised or broke its contract.
    """
    fed = {
        name: canned_view(whose, known.bar_size, rth=rth, further=known.further)
        for name, (whose, known) in feeds.items()
    }
    views = {"": with_feeds(canned_view(instrument, bar_size, rth=rth, further=further), fed), **fed}
    index = views[""].bars.index
    return pd.concat(
        [features(choice, name, views[choice.on]).set_axis(index) for name, choice in choices.items()], axis=1
    )


def _fingerprints(model: Model) -> tuple[dict[str, Fingerprint], dict[str, Fingerprint]]:
    """Return column -> fingerprint of the features, and of what is made of their windows."""
    if not model.features:
        scaled, found = canned_features(model.spec.observation.n_features), {}
    else:
        facts = model.facts
        table = canned_columns(
            model.features,
            model.instrument,
            facts.bar_size,
            rth=facts.rth,
            further=facts.further,
            feeds=model.feeds,
        )
        scaled = model.scaler(table)
        found = {str(name): Fingerprint.of(table[name].to_numpy(), _ENCODED[_KEPT]) for name in table}
    return found, _encoded(model, np.nan_to_num(scaled))


def _encoded(model: Model, scaled: NDArray[np.float32]) -> dict[str, Fingerprint]:
    """Return output -> fingerprint of what the extractor makes of windows, or the learner does when flat."""
    encode = getattr(getattr(model.learner, "policy", None), "encode", None)
    with _one_thread(), torch.inference_mode():
        if encode is None:
            return _actions(model, scaled)
        windows = map(torch.from_numpy, _windows(model, scaled))
        return _outputs(model.extractor, [asked(model.extractor, "forward", encode, one).numpy() for one in windows])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work on one thread: how many there are decides how sums are ordered."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _outputs(extractor: Choice, parts: list[NDArray[np.float32]]) -> dict[str, Fingerprint]:
    outputs = np.concatenate(parts)
    if not np.isfinite(outputs).all():
        raise PluginError(
            f"extractor '{extractor.use}' makes NaN or infinite values of a window",
            who=f"{extractor.distribution} {extractor.version}",
            next="mend it, or train with a smaller learning_rate",
        )
    return {f"output {number}": Fingerprint.of(column, _KEPT) for number, column in enumerate(outputs.T)}


def _actions(model: Model, scaled: NDArray[np.float32]) -> dict[str, Fingerprint]:
    parts = []
    for part in _windows(model, scaled):
        observation = {"market_features": part, "position_info": np.tile(_FLAT, (len(part), 1))}
        acted = np.asarray(asked(model.agent, "act", model.learner.act, observation))
        if acted.shape != (len(part),):
            raise broken(
                model.agent, f"act returned shape {acted.shape} for {len(part)} rows", "return one action a row"
            )
        parts.append(acted)
    actions = np.concatenate(parts)
    if not np.isin(actions, list(Action)).all():
        odd = actions[~np.isin(actions, list(Action))][0]
        raise broken(model.agent, f"act returned {ascii(odd)[:60]}", "return one of 0, 1, 2 or 3 a row")
    return {"actions": Fingerprint.of(actions.astype(np.float64), _KEPT)}


def _windows(model: Model, scaled: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return windows in batches; before the first bar there are zeros, for a lookback may be longer than the bars."""
    lookback = model.spec.observation.lookback
    padded = np.concatenate([np.zeros((lookback - 1, scaled.shape[1]), np.float32), scaled])
    every = np.lib.stride_tricks.sliding_window_view(padded, lookback, axis=0).transpose(0, 2, 1)
    return [np.ascontiguousarray(every[rows]) for rows in np.split(_ENCODED, len(_ENCODED) // _BATCH)]


def _read(document: Mapping[str, Any]) -> tuple[dict[str, Fingerprint], dict[str, Fingerprint]]:
    try:
        if document["schema"] != SCHEMA or document["bars"] != BARS:
            raise ValueError(f"it is {document['schema']} over {document['bars']} bars")
        columns, encoded = (
            {name: Fingerprint.from_json(one) for name, one in document[part].items()}
            for part in ("columns", "encoded")
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            "the probe of a model cannot be read",
            found=plain(f"{type(error).__name__}: {error}"),
            next=f"this version of mnq reads {SCHEMA}: install the one that saved the model, or train it again",
        ) from error
    return columns, encoded
