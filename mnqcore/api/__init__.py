"""What plugin authors type: the decorators, the value objects and the contracts of every kind.

Everything here is light: no pandas, no numba, no torch is imported.
"""

from mnqcore.api import port
from mnqcore.api.contracts import (
    KINDS,
    Agent,
    Bracket,
    DataSource,
    Executor,
    Extractor,
    FeatureSet,
    Learner,
    Reward,
    Sizer,
)
from mnqcore.api.parameters import Parameter, param, parameters, plugin, state, states
from mnqcore.api.values import (
    Action,
    BarRequest,
    Entry,
    ExitReason,
    FeedSpec,
    MarketView,
    ModelSpec,
    ObservationSpec,
    Step,
    Window,
)

__all__ = [
    "KINDS",
    "Action",
    "Agent",
    "BarRequest",
    "Bracket",
    "DataSource",
    "Entry",
    "Executor",
    "ExitReason",
    "Extractor",
    "FeatureSet",
    "FeedSpec",
    "Learner",
    "MarketView",
    "ModelSpec",
    "ObservationSpec",
    "Parameter",
    "Reward",
    "Sizer",
    "Step",
    "Window",
    "param",
    "parameters",
    "plugin",
    "port",
    "state",
    "states",
]
