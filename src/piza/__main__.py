import sys

from piza.cli import main

sys.exit(main())
