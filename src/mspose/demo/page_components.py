"""Gradio's components where they hand over, or take, something else than Gradio's own.

When these are defined, Gradio writes a file of type hints beside this one, as it does for any. That is why they have a
module of their own, and hints that need no import: an old one of these files must not mislead mypy.
"""

from __future__ import annotations

import base64
from pathlib import Path

import gradio
from gradio.data_classes import ImageData


class Picture(gradio.Image):
    """Hands over the path of the file as it was dropped: whether it is a picture, our own reader says better."""

    is_template = True  # looks as its parent does

    def preprocess(self, payload: object) -> object:
        return getattr(payload, "path", None)


class Upload(gradio.File):
    """Hands over the path of a video. Not a player: browsers play only some of the videos that are read."""

    is_template = True

    def preprocess(self, payload: object) -> object:
        return getattr(payload, "path", None)


class Camera(gradio.Image):
    """Hands over the bytes of a picture, whose size we look at before they are decoded."""

    is_template = True

    def preprocess(self, payload: object) -> object:
        url, path = getattr(payload, "url", None) or "", getattr(payload, "path", None)
        if url.startswith("data:"):
            return base64.b64decode(url.partition(",")[2])
        return Path(path).read_bytes() if path else None


class Live(gradio.Image):
    """Shows the bytes of a JPEG; Gradio would write a file for each picture of a camera."""

    is_template = True

    def postprocess(self, value: object) -> object:
        if not isinstance(value, bytes):
            return None
        return ImageData(url=f"data:image/jpeg;base64,{base64.b64encode(value).decode()}")
