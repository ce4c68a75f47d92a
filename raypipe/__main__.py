"""`python -m raypipe` is the command `raypipe`."""

import sys

from raypipe.cli.main import main

sys.exit(main())
