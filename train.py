"""Train a pose network: python train.py --config FILE [section.key=value ...]."""

import sys

from src.cli import run
from src.schema import Config


def train(config: Config) -> None:
    from src.engine.trainer import Trainer

    Trainer(config).run()


if __name__ == "__main__":
    sys.exit(run("Train a pose network.", train))
