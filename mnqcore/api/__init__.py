"""What plugin authors type: the decorators, the value objects and the contracts of every kind.

Everything here is light: no pandas, no numba, no torch is imported.
"""

from mnqcore.api.contracts import KINDS, Agent, Bracket, DataSource, FeatureSet, Reward, Sizer
from mnqcore.api.parameters import Parameter, param, parameters, plugin, state, states
from mnqcore.api.values import Action, BarRequest, Entry, ExitReason, MarketView, ObservationSpec, Step

__all__ = [
    "KINDS",
    "Action",
    "Agent",
    "BarRequest",
    "Bracket",
    "DataSource",
    "Entry",
    "ExitReason",
    "FeatureSet",
    "MarketView",
    "ObservationSpec",
    "Parameter",
    "Reward",
    "Sizer",
    "Step",
    "param",
    "parameters",
    "plugin",
    "state",
    "states",
]
