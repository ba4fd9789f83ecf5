"""Where independent pieces of work run: one executor a module."""
