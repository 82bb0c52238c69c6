"""Find people's poses in pictures or video: python demo.py --config FILE --ckpt FILE --input PICTURE|FOLDER|VIDEO|0."""

import sys

from src.cli import run
from src.schema import Config


def demo(config: Config) -> None:
    if config.demo.serve:
        from src.demo.page import serve

        serve(config)
    else:
        from src.demo.run import run_demo

        run_demo(config)


if __name__ == "__main__":
    sys.exit(run("Find people's poses in pictures, a video or what a camera sees, or serve a web page for it.", demo))
