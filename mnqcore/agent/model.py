"""A trained model as it is used: what was learnt, what it sees, and where it comes from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.parameters import param
from mnqcore.plugins.provenance import versions_here

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqcore.api.values import ModelSpec
    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.model import Choice
    from mnqcore.tape.scaler import Scaler

_LIBRARIES = (
    "numpy", "pandas", "pandas-market-calendars", "pandas-ta-classic", "gymnasium", "safetensors",
    "stable-baselines3", "torch",
)  # fmt: skip
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
_MOMENTS = ("train_start", "train_end", "validate_end", "test_start")
_SUM = re.compile(r"[0-9a-f]{64}")
_SUMS = ("digest", "data_sha256", "features_sha256")


@attrs.frozen(kw_only=True)
class Facts:
    """Where a model comes from; what is not known is empty.

    `digest` is that of the strategy, `further` the columns of its bars beside open high low close volume. Moments are
    the UTC starts of bars, ISO 8601: the first and last bar trained on, the last one validated on, the first tested on.
    """

    strategy: str = param("", help="name of the strategy")
    digest: str = param("", help="sha256 of everything in the strategy that can change a result")
    seed: int = param(0, ge=0, help="of the training")
    fold: int = param(1, ge=1, help="number of the split's fold")
    reward_scale: float = param(1.0, gt=0, help="rewards were divided by it")
    bar_size: str = param("5 min", help="length of a bar")
    rth: bool = param(False, help="only the cash session")
    further: tuple[str, ...] = param((), help="further columns of the bars")
    data_sha256: str = param("", help="of the bars")
    features_sha256: str = param("", help="of the feature columns")
    train_start: str = param("", help="first bar of the training")
    train_end: str = param("", help="last bar of the training")
    validate_end: str = param("", help="last bar of the validation")
    test_start: str = param("", help="first bar of the test")

    def __attrs_post_init__(self) -> None:
        for names, form, wanted in ((_MOMENTS, _MOMENT, "a moment in UTC, ISO 8601"), (_SUMS, _SUM, "a sha256")):
            for name in names:
                value = getattr(self, name)
                if value and not form.fullmatch(value):
                    raise ValueError(f"{name} must be {wanted}, was {value!a}")


@attrs.frozen(kw_only=True)
class FeedFacts:
    """Of which bars a feed is: `instrument` apart, since it is a table of its own; `further` as in `Facts`."""

    bar_size: str = param("5 min", help="length of a bar")
    further: tuple[str, ...] = param((), help="further columns of the bars")


@attrs.frozen(kw_only=True)
class Report:
    """How a model that was loaded compares with the one that was saved.

    `bit_equal`: feature sets and extractor give the same bits here. `differing`: what does not, but for no more than
    rounding. `changed`: plugins and libraries of another version, "torch 2.4.0 now 2.5.1".
    """

    bit_equal: bool
    differing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class Model:
    """A learner with everything that it needs to act on bars that it has not seen.

    `learner`: the agent, trained. `agent`, `extractor`, `features`: the plugins and their parameters; `features` is
    name -> choice in the order of their columns, and empty where columns were given rather than computed. `feeds`: name
    -> instrument and bars of each feed beside those that are traded. `scaler`: of the training bars.
    `versions`: what it was made with. `report`: what loading it found. `sha256`: of its manifest,
    once it is on disk.
    """

    learner: Any
    agent: Choice
    extractor: Choice
    features: Mapping[str, Choice]
    spec: ModelSpec
    scaler: Scaler
    instrument: Instrument
    facts: Facts
    feeds: Mapping[str, tuple[Instrument, FeedFacts]] = attrs.field(factory=dict)
    versions: Mapping[str, str] = attrs.field(factory=lambda: versions())
    report: Report = Report(bit_equal=True)
    sha256: str = ""

    @property
    def choices(self) -> dict[str, Choice]:
        """Dotted key -> choice of every plugin that it takes to act: `features.ta`, `extractor`, `agent`."""
        named = {f"features.{name}": choice for name, choice in self.features.items()}
        return {**named, "extractor": self.extractor, "agent": self.agent}


def versions() -> dict[str, str]:
    """Return what a model's numbers depend on: name -> version."""
    return versions_here(_LIBRARIES)
