"""What is computed from bars: one feature set a module."""
