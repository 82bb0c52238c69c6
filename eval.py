"""Evaluate a pose network on COCO keypoints: python eval.py --config FILE --ckpt FILE [section.key=value ...]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main(["eval", *sys.argv[1:]]))
