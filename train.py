"""Train a pose network: python train.py --config FILE [section.key=value ...]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
