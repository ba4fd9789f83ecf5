"""Every error that mnq raises on purpose, and the exit code each ends with.

    MnqError                1  run or check failed
    ├── UsageError          2  the command line asks for something impossible
    ├── StrategyError       3  the strategy file is invalid; carries every finding, not the first
    ├── PluginError         4  a plugin is missing, broken, or raised
    │   └── ExtraMissing    4  an optional library is not installed
    ├── DataError           5  data missing, bad, or ambiguous
    ├── BrokerError         6  broker or connection
    ├── RiskStop            7  stopped by a risk limit
    ├── GateNotMet          8  a metric is under its threshold
    └── JournalBroken       1  the journal of a trading session cannot be written

An error says what, where, what was found, and what to do. Users see it without a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing import Self


class MnqError(Exception):
    """An error meant for the user: shown as a few lines, never as a traceback.

    Args:
        what: one sentence without a full stop.
        facts: label -> text, shown one a line below: "where", "found", "why", "who", "next", ...
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, **facts: str) -> None:
        super().__init__(what)
        self.what = what
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), self.__dict__

    def placed(self, where: str) -> Self:
        """Return the error itself, which now says where it came about, unless it said so already."""
        if "where" not in self.facts:
            self.facts = {"where": where, **self.facts}
        return self

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {label:<7} {text}" for label, text in self.facts.items())])


class UsageError(MnqError):
    """The command line asks for something impossible."""

    exit_code = 2


class StrategyError(MnqError):
    """A strategy file is invalid; the text lists every finding with its place."""

    exit_code = 3


class PluginError(MnqError):
    """A plugin is missing, broken, incompatible, or raised while running."""

    exit_code = 4


class ExtraMissing(PluginError):
    """An optional library is not installed; the text holds the pip command."""


LIBRARIES = {
    "rl": ("gymnasium", "joblib", "safetensors", "stable_baselines3", "tensorboard", "torch", "tqdm"),
}
"""Extra -> the modules that it installs."""


def require(extra: str, *modules: str) -> None:
    """Refuse to go on without the libraries of an extra, or these of them; none is imported.

    Raises:
        ExtraMissing: names those that are not installed, and the pip command.
    """
    missing = [name for name in modules or LIBRARIES[extra] if not _is_installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = ", ".join(name.replace("_", "-") for name in missing)
        raise ExtraMissing(f"{names} {verb} not installed", next=f'pip install "mnq[{extra}]"')


class DataError(MnqError):
    """Data is missing, bad, or cannot be told apart without the user's word."""

    exit_code = 5


class BrokerError(MnqError):
    """The broker refused, vanished, or is not the one expected."""

    exit_code = 6


class RiskStop(MnqError):
    """A risk limit stopped the run; positions are flat."""

    exit_code = 7


class GateNotMet(MnqError):
    """A metric is under the threshold that the user set."""

    exit_code = 8


class JournalBroken(MnqError):
    """The journal of a trading session cannot be written: nothing new may be risked."""


def _is_installed(module: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # something on the way refuses it
        return False


def _unpickled(cls: type[MnqError], args: tuple[Any, ...]) -> MnqError:
    """Make an error again in another process, whatever its class's own `__init__` takes."""
    return cls.__new__(cls, *args)


def suggest(word: str, known: list[str] | tuple[str, ...]) -> str | None:
    """Return the known word that `word` most likely meant, or None."""
    import difflib

    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return close[0] if close else None
