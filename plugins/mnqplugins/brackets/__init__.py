"""Where stop and target stand: one bracket a module."""
