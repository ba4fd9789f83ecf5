"""Environments over the simulator's lanes: one account for gymnasium, many for stable-baselines3."""
