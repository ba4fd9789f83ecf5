"""How a step is judged: one reward a module."""
