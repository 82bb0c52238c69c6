"""Write the evaluation set as raw network inputs: python data_to_bin.py --config FILE output=DIR [--ckpt MODEL]."""

import sys

from src.cli import run
from src.schema import Config


def data_to_bin(config: Config) -> None:
    from src.deploy.prepare import write_inputs

    write_inputs(config)


if __name__ == "__main__":
    sys.exit(run("Write the evaluation set as raw network inputs, with a manifest, for inference on a device.",
                 data_to_bin))
