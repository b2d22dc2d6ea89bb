"""`python -m piza`: the command line."""

import sys

from piza.cli.main import main

if __name__ == "__main__":  # worker processes import this file again
    sys.exit(main())
