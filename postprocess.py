"""Evaluate raw results of a device, without MindSpore: python postprocess.py --config FILE output=DIR."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main(["postprocess", *sys.argv[1:]]))
