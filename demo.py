"""Find people's poses in pictures or video: python demo.py --config FILE --ckpt FILE --input PICTURE|FOLDER|VIDEO|0."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))  # a bare checkout needs no installation

from mspose.commands import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
