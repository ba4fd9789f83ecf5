"""All hooks of mnq: the framework's manual.

A plugin is a module with functions marked `@hookimpl`, named in the entry-point group `mnq` of its distribution:

    [project.entry-points.mnq]
    patience = "mnq_patience"

or one file given by `mnq -p ./patience.py`. It implements the hooks it needs and may leave out arguments it does not
use. A hook that is not listed here, or an argument that a hook does not have, is an error of that plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = "mnq"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """What a `register_...` hook is handed."""

    def __call__(self, name: str, target: str | type) -> None:
        """Register a piece under `name`: lower-case words joined by dashes.

        `target` is "module:Class", imported on first use (prefer it: `mnq plugins` then stays fast), or a class.
        """
        ...


# ----------------------------------------------------------------------------------------------------------------------
# Pieces: called once by every command that needs plugins. A strategy file names a piece by its `use`.
# ----------------------------------------------------------------------------------------------------------------------


@hookspec
def register_data_sources(register: Register) -> None:
    """Register data sources: where bars come from.

    Example:
        @hookimpl
        def register_data_sources(register):
            register("my-vendor", "mnq_my_vendor.bars:VendorBars")
    """


@hookspec
def register_feature_sets(register: Register) -> None:
    """Register feature sets: causal columns computed from bars.

    Example:
        @hookimpl
        def register_feature_sets(register):
            register("orderflow", "mnq_orderflow.features:OrderFlow")
    """


@hookspec
def register_brackets(register: Register) -> None:
    """Register brackets: how far stop and target stand from an entry.

    Example:
        @hookimpl
        def register_brackets(register):
            register("swing", "mnq_swing.brackets:SwingBracket")
    """


@hookspec
def register_sizers(register: Register) -> None:
    """Register sizers: how many contracts an entry takes.

    Example:
        @hookimpl
        def register_sizers(register):
            register("half", "mnq_half.sizers:Half")
    """


@hookspec
def register_rewards(register: Register) -> None:
    """Register rewards: how a step is judged when a model is trained.

    Example:
        @hookimpl
        def register_rewards(register):
            register("patience", "mnq_patience.rewards:Patience")
    """


@hookspec
def register_extractors(register: Register) -> None:
    """Register extractors: networks that read a window of features.

    Example:
        @hookimpl
        def register_extractors(register):
            register("tcn", "mnq_tcn.extractors:Tcn")
    """


@hookspec
def register_agents(register: Register) -> None:
    """Register agents: rules, or models that are trained, which choose actions.

    Example:
        @hookimpl
        def register_agents(register):
            register("my-rule", "mnq_my_rule.agents:MyRule")
    """


@hookspec
def register_brokers(register: Register) -> None:
    """Register brokers: what executes orders.

    Example:
        @hookimpl
        def register_brokers(register):
            register("my-broker", "mnq_my_broker.port:MyBroker")
    """


@hookspec
def register_executors(register: Register) -> None:
    """Register executors: where independent pieces of work run.

    Example:
        @hookimpl
        def register_executors(register):
            register("cluster", "mnq_cluster.executor:Cluster")
    """


# ----------------------------------------------------------------------------------------------------------------------
# A run: called in this order, in every stage that has the event. They watch; what they return is ignored.
# An observer that raises ends the run with its name on it, after all other observers were called. A session of the
# trade stage it cannot end: there it is named once, and what it raises later is ignored.
# ----------------------------------------------------------------------------------------------------------------------


@hookspec
def run_started(run: Any) -> None:
    """Hear that a run has begun.

    Example:
        @hookimpl
        def run_started(run):
            print("started", run)
    """


@hookspec
def trade_closed(run: Any, trade: Mapping[str, Any]) -> None:
    """Hear of each round trip, in order of exit; `trade` is column -> value of one row of the run's trades.

    Example:
        @hookimpl
        def trade_closed(trade):
            print(trade["reason"], trade["net"])
    """


@hookspec
def alert(run: Any, level: str, message: str) -> None:
    """Hear what a person should look at; `level` is "info", "warning" or "error".

    Example:
        @hookimpl
        def alert(level, message):
            print(level, message)
    """


@hookspec
def run_finished(run: Any, result: Any) -> None:
    """Hear that a run has ended well; `result` holds its metrics.

    Example:
        @hookimpl
        def run_finished(result):
            print(result.metrics)
    """


HOOK_KINDS = {
    "register_data_sources": "data",
    "register_feature_sets": "features",
    "register_rewards": "reward",
    "register_brackets": "bracket",
    "register_sizers": "sizer",
    "register_extractors": "extractor",
    "register_agents": "agent",
    "register_brokers": "broker",
    "register_executors": "executor",
}
"""hook name -> the kind word of what it registers."""

OBSERVERS = ("run_started", "trade_closed", "alert", "run_finished")
"""The hooks that watch a run."""
