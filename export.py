"""Export a checkpoint for deployment: python export.py --config FILE --ckpt FILE --file_format MINDIR|ONNX|AIR."""

import sys

from src.cli import run
from src.schema import Config


def export(config: Config) -> None:
    from src.export.command import export_checkpoint

    export_checkpoint(config)


if __name__ == "__main__":
    sys.exit(run("Export a checkpoint for deployment: a MindIR, ONNX or AIR file and its model card.", export))
