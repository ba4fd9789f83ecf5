"""What chooses actions: one rule agent a module."""
