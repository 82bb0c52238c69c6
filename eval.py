"""Evaluate a pose network on COCO keypoints: python eval.py --config FILE --ckpt FILE [section.key=value ...]."""

import sys

from src.cli import run
from src.schema import Config


def evaluate(config: Config) -> None:
    from src.engine.evaluation import evaluate_checkpoint

    evaluate_checkpoint(config)


if __name__ == "__main__":
    sys.exit(run("Evaluate a pose network on COCO keypoints.", evaluate))
