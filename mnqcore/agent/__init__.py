"""Learning agents: the policy network, its training on stable-baselines3, its artifact, and fast backtests of it."""
