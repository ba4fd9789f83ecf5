"""Networks that read a window of features: one extractor a module, its network in a private one."""
