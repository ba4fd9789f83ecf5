"""`python -m mnqcore` is `mnq`."""

import sys

from mnqcore.cli import main

sys.exit(main())
