"""What the demo looks at: pictures, and the videos, cameras and streams beside them."""

from __future__ import annotations

import glob
import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mspose.demo.address import fetch_picture, is_address, place_of, shown
from mspose.demo.video import Frame, Video
from mspose.errors import UsageError
from mspose.filenames import common_folder, unique_names
from mspose.images import ImageError, picture_format, read_image

log = logging.getLogger("pose")

# Suffixes that OpenCV writes, and those of other pictures.
WRITABLE = {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm"}
PICTURES = WRITABLE | {".jfif", ".jfi", ".avif", ".heic", ".heif", ".hif", ".jp2", ".pbm", ".pam", ".hdr", ".exr"}
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".gif"}


@dataclass(frozen=True)
class Input:
    """One picture, video file, camera (its number) or address among the inputs.

    Attributes:
        source: where it is read.
        file_name: what results call it: relative to the folder that all files are in.
        name: unique among all inputs, without suffix: output files are called after it.
        is_video: or stream, or camera.
        label: what messages call it.
    """

    source: Path | int | str
    file_name: str
    name: str
    is_video: bool
    label: str


class Pictures:
    """Picture files in order; a file that cannot be read is a frame without an image.

    Attributes:
        total: number of pictures.
        paths: the files.
        folder: that all of them are in, directly or in folders of it.
        file_names, names: see `Input`.
        drawn: file names for what is drawn, one a picture and none twice.
        ids: COCO's numbers of the pictures.
    """

    is_video: Literal[False] = False
    is_live = False

    def __init__(self, inputs: Sequence[Input], folder: Path) -> None:
        self._inputs, self.folder, self.total = list(inputs), folder, len(inputs)
        self.paths = [entry.source for entry in inputs if isinstance(entry.source, Path)]
        self.names = [entry.name for entry in inputs]
        self.file_names = [entry.file_name for entry in inputs]
        self.ids = image_ids([Path(name) for name in self.file_names])
        self.drawn = [f"{entry.name}{_writable_suffix(Path(entry.file_name))}" for entry in inputs]

    def __iter__(self) -> Iterator[Frame]:
        for number, (entry, path, image_id) in enumerate(zip(self._inputs, self.paths, self.ids)):
            try:
                image, error = read_image(path, apply_exif=True), ""
            except ImageError as fault:
                image, error = None, str(fault).replace(str(path), entry.label)
            yield Frame(number, image_id, entry.file_name, entry.name, image, error)

    def close(self) -> None:
        """Nothing is held open."""


class Clip:
    """A video, camera or stream that is not yet opened.

    Attributes:
        paths: the file, if it is one.
        names, file_names: one each, see `Input`.
        drawn: name of the drawn video.
        label: what messages call it.
    """

    is_video: Literal[True] = True

    def __init__(self, entry: Input) -> None:
        self.source, self.label = entry.source, entry.label
        self.paths = [entry.source] if isinstance(entry.source, Path) else []
        self.names, self.file_names, self.drawn = [entry.name], [entry.file_name], [f"{entry.name}.mp4"]

    def open(self, start: float = 0.0, end: float = 0.0) -> Video:
        """Open it; arguments and errors are those of `Video`."""
        return Video(self.source, self.names[0], self.file_names[0], start, end)


def open_sources(specs: Sequence[str], scratch: Path) -> list[Pictures | Clip]:
    """All pictures, then each video, camera and stream, in the order in which they are named, and each once.

    Args:
        specs: each a file, folder, glob such as "photos/**/*.jpg", address, or number of a camera.
        scratch: folder for pictures that are fetched from an address; they are read from there.

    Raises:
        UsageError: nothing is there, or no pictures and videos are.
        PoseError: a server does not give what is at an address.
    """
    if not any(specs):
        raise UsageError(
            "nothing to look at: --input PICTURE, FOLDER, 'GLOB', VIDEO, ADDRESS or camera number (or --serve)"
        )
    found: dict[object, Path | int | str] = {}
    for spec in specs:
        sources, note = find(spec)
        if note:
            log.warning(f"note: {note}")
        for source in sources:
            found.setdefault(source.resolve() if isinstance(source, Path) else source, source)
    files = [source for source in found.values() if isinstance(source, Path)]
    folder = common_folder(files) if files else Path.cwd()
    inputs = _named(list(found.values()), folder, scratch)
    pictures = [entry for entry in inputs if not entry.is_video]
    clips = [Clip(entry) for entry in inputs if entry.is_video]
    return [*([Pictures(pictures, folder)] if pictures else []), *clips]


def find(spec: str) -> tuple[list[Path | int | str], str]:
    """What an input stands for, files or the number of a camera or an address; and what was left out, if anything.

    Raises:
        UsageError: nothing is there, or no pictures and videos are.
    """
    if not spec:
        raise UsageError("demo.input: an empty name among others")
    path = Path(spec)
    if path.is_file():
        return [path], ""
    if path.is_dir():
        found, where = list(path.iterdir()), f"in the folder {spec}"
        hint = f" (sub-folders: '{path / '**' / '*.jpg'}')"
    elif spec.isascii() and spec.isdigit():
        return [int(spec)], ""
    elif is_address(spec):
        return [spec], ""
    elif glob.has_magic(spec):
        found, where, hint = [Path(p) for p in glob.glob(spec, recursive=True)], f"among {spec}", ""
        if not found:
            raise UsageError(f"demo.input: nothing matches {spec}")
    else:
        what = "neither file nor folder" if path.exists() else "no such file or folder"
        raise UsageError(f"demo.input: {what}: {spec}")
    files = sorted((p for p in found if p.is_file()), key=_natural)
    chosen = [p for p in files if is_picture(p) or p.suffix.lower() in VIDEOS]
    # Folders go without a word, but for those that are called like a picture.
    odd = [p for p in found if not p.is_file() and (not p.is_dir() or p.suffix.lower() in PICTURES)]
    left = sorted([*set(files).difference(chosen), *odd], key=_natural)
    others = [p.name for p in left if not p.name.startswith(".")]
    names = f"{', '.join(others[:3])}{', …' if len(others) > 3 else ''} ({len(others)} in all)"
    if not chosen:
        raise UsageError(f"demo.input: no pictures or videos {where}{f', but {names}' if others else hint}")
    return [*chosen], f"no pictures or videos, left out {where}: {names}" if others else ""


def _named(sources: Sequence[Path | int | str], folder: Path, scratch: Path) -> list[Input]:
    """The inputs with names for their results, none twice, nor that of a frame of another."""
    # Where each would lie if it were a file.
    places = [
        source
        if isinstance(source, Path)
        else folder / (place_of(source) if isinstance(source, str) else f"camera{source}")
        for source in sources
    ]
    inputs = []
    for source, place, name in zip(sources, places, unique_names(places)):
        if isinstance(source, Path):
            file_name = place.absolute().relative_to(folder).as_posix()
            inputs.append(Input(source, file_name, name, is_video(source), str(source)))
        elif isinstance(source, int):
            inputs.append(Input(source, name, name, True, f"camera {source}"))
        else:
            fetched, label = fetch_picture(source, scratch), shown(source)
            inputs.append(Input(fetched or source, label, name, fetched is None, label))
    taken = {entry.name.casefold() for entry in inputs}
    for number, entry in enumerate(inputs):
        name, count = entry.name, 1
        while entry.is_video and (_has_frames(name, taken) or (count > 1 and name.casefold() in taken)):
            count += 1
            name = f"{entry.name}_{count}"
        taken.add(name.casefold())
        inputs[number] = replace(entry, name=name)
    return inputs


def _has_frames(name: str, taken: set[str]) -> bool:
    """Whether something is called like a frame of the video of that name."""
    frame = re.compile(re.escape(name.casefold()) + r"_\d{12,}")
    return any(map(frame.fullmatch, taken))


def image_ids(paths: Sequence[Path]) -> list[int]:
    """COCO's numbers of pictures: their file names where these are numbers, as COCO's are; the others get free ones."""
    numbers = [int(path.stem) if path.stem.isdecimal() and len(path.stem) < 16 else None for path in paths]
    counts = Counter(numbers)
    free = (number for number in itertools.count() if number not in counts)
    return [number if number is not None and counts[number] == 1 else next(free) for number in numbers]


def _natural(path: Path) -> list[object]:
    """Sort key by which frame10 comes after frame9."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", str(path))]


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its suffix; without a telling one, whatever is no picture may be a video."""
    suffix = path.suffix.lower()
    return suffix in VIDEOS or (suffix not in PICTURES and not is_picture(path))


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its suffix; without a telling one, by how it begins."""
    suffix = path.suffix.lower()
    if suffix in PICTURES | VIDEOS:
        return suffix in PICTURES
    try:
        with path.open("rb") as file:
            return picture_format(file.read(16)) != ""
    except OSError:
        return False


def _writable_suffix(path: Path) -> str:
    return path.suffix if path.suffix.lower() in WRITABLE else ".jpg"
