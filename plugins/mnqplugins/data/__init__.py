"""Where bars come from: one data source a module."""
