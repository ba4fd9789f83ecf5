"""How many contracts an entry takes: one sizer a module."""
