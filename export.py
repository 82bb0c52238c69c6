"""Export a checkpoint for deployment: python export.py --config FILE --ckpt FILE --file_format MINDIR|ONNX|AIR."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
