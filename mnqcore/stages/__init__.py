"""The stages of a run, each a function from a strategy to a result."""
