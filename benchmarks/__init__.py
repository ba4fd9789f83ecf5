"""How fast it is, as ratios measured in one run: `python -m benchmarks` prints the table. README.md says how."""
