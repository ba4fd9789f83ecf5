"""Agents for mnq on the algorithms of sb3-contrib."""

from mnqcore import Register, hookimpl


@hookimpl
def register_agents(register: Register) -> None:
    """Register the agents `recurrent-ppo` and `maskable-ppo`."""
    register("recurrent-ppo", "mnq_sb3_contrib.recurrent:RecurrentPpo")
    register("maskable-ppo", "mnq_sb3_contrib.maskable:MaskablePpo")
