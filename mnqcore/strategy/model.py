"""What a strategy file becomes: a frozen Strategy whose choices build fresh plugin instances."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from mnqcore.market.instruments import Instrument
    from mnqcore.strategy.resolve import Node
    from mnqcore.strategy.settings import Costs, Env, Risk, Session, Split
    from mnqcore.strategy.trade import Trade


@attrs.frozen(kw_only=True)
class Choice:
    """A plugin that a strategy names, and all its parameters: `params` is name -> value, defaults filled in.

    `on`: of a feature set, the feed on whose bars it is computed; empty = the strategy's own.
    """

    kind: str
    use: str
    distribution: str
    version: str
    params: dict[str, Any] = attrs.field(hash=False)
    cls: type = attrs.field(repr=False)
    on: str = ""

    @property
    def name(self) -> str:
        """The plugin's name without its distribution."""
        return self.use.rpartition(":")[2]

    def build(self) -> Any:
        """Return a fresh instance."""
        return self.cls(**self.params)

    @property
    def learns(self) -> bool:
        """Whether it is an agent that is trained."""
        return callable(getattr(self.cls, "train", None))


@attrs.frozen(kw_only=True)
class Feed:
    """Bars beside the strategy's own: of which instrument and size. `data`: where from; None = made of its own bars."""

    instrument: Instrument
    bar_size: str
    data: Choice | None = None


@attrs.frozen(kw_only=True, eq=False)
class Strategy:
    """A strategy, resolved and checked.

    `features` is name -> choice, in the order of their columns; `feeds` is name -> feed; `origins` is
    dotted key -> where its value comes from ("strategies.toml:12", "default", "catalogue", "--set seed=3"); `requires`
    is what the file asks to be installed.

    Where the agent is a rule, `extractor` and `executor` are None, `reward` is None unless the file names one, and
    `lookback`, `split` and `env` mean nothing.
    """

    name: str
    summary: str
    instrument: Instrument
    bar_size: str
    seed: int
    lookback: int
    data: Choice
    features: dict[str, Choice]
    split: Split
    agent: Choice
    extractor: Choice | None
    bracket: Choice
    sizer: Choice
    reward: Choice | None
    costs: Costs
    risk: Risk
    session: Session
    env: Env
    executor: Choice | None
    trade: Trade
    feeds: dict[str, Feed] = attrs.field(factory=dict)
    requires: tuple[str, ...] = ()
    written: dict[str, Node | str] = attrs.field(factory=dict, repr=False)

    @functools.cached_property
    def origins(self) -> dict[str, str]:
        """Dotted key -> origin; found on first use, since finding lines costs a second parse of the file."""
        return {key: node if isinstance(node, str) else node.origin for key, node in self.written.items()}

    @property
    def learns(self) -> bool:
        """Whether the agent is trained, rather than a rule."""
        return self.agent.learns

    @property
    def replays(self) -> bool:
        """Whether its broker replays the bars that its data source has recorded: all of them can be read beforehand."""
        return bool(getattr(self.trade.broker.cls, "replays", False)) and not hasattr(self.data.cls, "stream")

    @property
    def choices(self) -> dict[str, Choice]:
        """Dotted key -> choice of every plugin that can change a result: `data`, `features.ta`, `agent`, ..."""
        fed = {f"feeds.{name}.data": feed.data for name, feed in self.feeds.items() if feed.data}
        named = {"data": self.data, **fed, **{f"features.{name}": choice for name, choice in self.features.items()}}
        named |= {"agent": self.agent, "bracket": self.bracket, "sizer": self.sizer}
        further = {"extractor": self.extractor, "reward": self.reward}
        return named | {key: choice for key, choice in further.items() if choice}

    @property
    def text(self) -> str:
        """The resolved strategy as a complete file."""
        return self.to_toml()

    def digest(self) -> str:
        """Return the sha256 (hex) of everything that can change a result.

        Names, comments, origins and plugin versions are left out; the order of the feature sets counts, since it is
        the order of their columns. `trade` is no part of it: nothing in it changes a decision or a fill.
        """
        settings = {key: attrs.asdict(getattr(self, key)) for key in ("instrument", "costs", "risk", "session")}
        plugins = [[key, choice.name, choice.distribution, choice.params] for key, choice in self.choices.items()]
        content = {"bar_size": self.bar_size, "seed": self.seed, "plugins": plugins, **settings, **self._learning()}
        content |= self._fed()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _fed(self) -> dict[str, Any]:
        """Return the feeds, and which feature set is on which of them; nothing where there are none."""
        if not self.feeds:
            return {}
        feeds = {
            name: {"instrument": attrs.asdict(feed.instrument), "bar_size": feed.bar_size, "made": feed.data is None}
            for name, feed in self.feeds.items()
        }
        return {"feeds": feeds, "on": {name: choice.on for name, choice in self.features.items() if choice.on}}

    def _learning(self) -> dict[str, Any]:
        """Return the settings that only a learner has."""
        if not self.learns:
            return {}
        split = {"use": self.split.use, **attrs.asdict(self.split)}
        return {"lookback": self.lookback, "split": split, "env": attrs.asdict(self.env)}

    def to_toml(self) -> str:
        """Return the strategy as a complete file, each value with its origin; loading it gives the same digest."""
        from mnqcore.strategy.resolved import write

        return write(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Strategy):
            return NotImplemented
        return (self.name, self.summary, self.digest()) == (other.name, other.summary, other.digest())

    def __hash__(self) -> int:
        return hash(self.digest())
