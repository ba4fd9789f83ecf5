"""What is checked: a module a subject, each check a function that yields what is wrong.

The order of the imports is that of the reports.
"""

from mnqcore.testing.checks import (  # isort: skip
    every_kind,
    contracts,
    process,
    causal,
    features,
    brackets,
    rewards,
    sizers,
    agents,
    learners,
    extractors,
    data,
    executors,
    brokers,
    speed,
)
from mnqcore.testing.verdict import CHECKS

__all__ = [
    "CHECKS",
    "agents",
    "brackets",
    "brokers",
    "causal",
    "contracts",
    "data",
    "every_kind",
    "executors",
    "extractors",
    "features",
    "learners",
    "process",
    "rewards",
    "sizers",
    "speed",
]
