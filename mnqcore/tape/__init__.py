"""From bars and plugins to the arrays that the simulator reads.

`market` lays bars on the clock: ticks, trading days, where a position must be flat. `calls` asks the plugins and holds
them to their contracts. `build` puts both together for a strategy.
"""

from mnqcore.tape.build import Tape, build
from mnqcore.tape.market import Market, lay

__all__ = ["Market", "Tape", "build", "lay"]
