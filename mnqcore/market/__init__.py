"""Instruments, calendar, bars and rolls: the facts of the market that everything above reads."""
