"""`python -m mspose COMMAND` is the program `mspose COMMAND`."""

import sys

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main())
