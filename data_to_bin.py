"""Write the evaluation set as raw network inputs: python data_to_bin.py --config FILE output=DIR [--ckpt MODEL]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main(["prepare", *sys.argv[1:]]))
