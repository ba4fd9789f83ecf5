"""The piece that is checked: its class, its parameters, and how each kind is asked for an answer."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from mnqcore.api.contracts import KINDS
from mnqcore.api.parameters import parameters
from mnqcore.errors import UsageError
from mnqcore.testing.verdict import NotAsked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnqcore.api.values import MarketView
    from mnqcore.plugins import Plugins, Registered
    from mnqcore.strategy.model import Choice

TITLES = {"data": "data source", "features": "feature set"}
"""kind -> what a report calls it, where that is not the kind word."""


@attrs.frozen(kw_only=True, eq=False, slots=False)
class Subject:
    """A piece under test.

    `params` are those that are not left at their defaults; `columns` the further columns that the bars it sees have,
    `feeds` the feeds beside them; `files` the `-p` files of the command; `make` makes a bench of a broker.
    """

    kind: str
    name: str
    distribution: str
    version: str
    cls: Any
    params: Mapping[str, Any] = attrs.field(factory=dict)
    columns: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    make: Any = None
    registered: bool = True
    kept: dict[str, Any] = attrs.field(factory=dict, init=False, repr=False)
    """What one check found out and another asks for."""

    @property
    def title(self) -> str:
        """Name, kind, distribution and version, as a report begins."""
        needs = f", needs {', '.join(self.columns)}" if self.columns else ""
        return f"{self.name} ({TITLES.get(self.kind, self.kind)}, {self.distribution} {self.version}{needs})"

    @property
    def missing(self) -> list[str]:
        """The parameters that have no default and were not given."""
        return [name for name, one in parameters(self.cls).items() if one.required and name not in self.params]

    def need_given(self) -> None:
        """Raise NotAsked where a parameter without a default was not given."""
        if missing := self.missing:
            raise NotAsked(f"needs {', '.join(missing)}: --set {missing[0]}=VALUE")

    def build(self) -> Any:
        """Return a fresh instance.

        Raises:
            NotAsked: a parameter without a default was not given, or no instance can be made; another check says why.
        """
        self.need_given()
        try:
            return self.cls(**self.params)
        except Exception as error:
            raise NotAsked("it cannot be made") from error

    @functools.cached_property
    def choice(self) -> Choice:
        """The piece as a strategy names it, all parameters filled in."""
        from mnqcore.strategy.model import Choice

        made = self.build()
        return Choice(
            kind=self.kind,
            use=self.name,
            distribution=self.distribution,
            version=self.version,
            params={name: getattr(made, name) for name in parameters(self.cls)},
            cls=self.cls,
        )

    @property
    def learns(self) -> bool:
        """Whether it is an agent that is trained."""
        return self.kind == "agent" and callable(getattr(self.cls, "train", None))

    @property
    def warmup(self) -> int:
        """What it declares, 0 where it declares nothing."""
        return int(getattr(self.build(), "warmup", 0))

    def need_warm(self) -> None:
        """Raise NotAsked where no bar that it is tried on lies after its warm-up."""
        if self.warmup >= self.bars - 20:
            raise NotAsked(f"a warm-up of {self.warmup:,} bars is more than is tried here")

    @functools.cached_property
    def bars(self) -> int:
        """How many bars it is tried on: enough to prove its warm-up."""
        from mnqcore.testing.market import USUAL_BARS

        return min(max(USUAL_BARS, 2 * self.warmup + 600), 12_000)

    def view(self, shape: str = "usual", **made: Any) -> MarketView:
        """Return a made market with the columns and feeds that it reads."""
        from mnqcore.testing.market import Made, view

        given: dict[str, Any] = {"bars": self.bars, "columns": self.columns, "feeds": self.feeds} | made
        return view(Made(shape=shape, **given))

    def place(self) -> str:
        """Return `file:line` of the class."""
        try:
            line = inspect.getsourcelines(self.cls)[1]
            return f"{Path(inspect.getfile(self.cls)).name}:{line}"
        except (OSError, TypeError):
            return ""


def of_piece(piece: Registered, plugins: Plugins, **given: Any) -> Subject:
    """Return a registered piece as a subject; PluginError where it does not import."""
    return Subject(
        kind=piece.kind,
        name=piece.name,
        distribution=piece.distribution,
        version=piece.version,
        cls=piece.load(),
        files=tuple(map(str, plugins.files)),
        **given,
    )


def of_class(kind: str, cls: type, **given: Any) -> Subject:
    """Return a class that nobody registered as a subject; UsageError where there is no such kind."""
    if kind not in KINDS:
        raise UsageError(f"there is no kind '{kind}'", next=f"kinds: {' '.join(KINDS)}")
    return Subject(
        kind=kind, name=cls.__name__, distribution=cls.__module__, version="0", cls=cls, registered=False, **given
    )
