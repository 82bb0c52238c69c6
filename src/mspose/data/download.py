"""Getting COCO 2017: fetch, verify and unzip the public archives, or examine a folder that is there already.

    mspose download ROOT                        # everything: 20.4 GB to fetch, 42 GB of room to unzip
    mspose download ROOT --parts val2017 annotations
    mspose download ROOT --check-only

What is finished is not fetched again, an interrupted transfer goes on where it stopped, and an archive that already
lies in ROOT (brought there on a disk, say) is used as it is. Nothing is written outside ROOT.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from mspose.archives import DAMAGED, harmless
from mspose.data.layout import check
from mspose.errors import PoseError, UsageError
from mspose.files import check_writable, user_path
from mspose.runtime.transfer import CHUNK, digest_of, fetch, file_size, gigabytes, partial_files

# Plain HTTP, since the host's certificate is not in its own name; the SHA-256 of every archive is checked instead.
BASE_URL = "http://images.cocodataset.org"


@dataclass(frozen=True)
class Part:
    """One archive and what it becomes.

    Attributes:
        name: the folder in ROOT, which is also the only folder of the archive that is unzipped.
        archive: its path under the base URL.
        size: bytes of the archive.
        sha256: its digest, hexadecimal.
        pattern: regular expression of the file names that are wanted.
        files: how many of them there are.
        unzipped: bytes that they may take at most.
    """

    name: str
    archive: str
    size: int
    sha256: str
    pattern: str
    files: int
    unzipped: int


PICTURE = r"\d{12}\.jpg"
PARTS = (
    Part(
        "val2017",
        "zips/val2017.zip",
        815_585_330,
        "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        PICTURE,
        5_000,
        860_000_000,
    ),
    Part(
        "annotations",
        "annotations/annotations_trainval2017.zip",
        252_907_541,
        "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
        r"(person_keypoints|instances)_(train|val)2017\.json",
        4,
        850_000_000,
    ),
    Part(
        "train2017",
        "zips/train2017.zip",
        19_336_861_798,
        "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        PICTURE,
        118_287,
        20_300_000_000,
    ),
)


def download(
    root: str | Path, parts: Sequence[Part] = PARTS, base_url: str = BASE_URL, keep_archives: bool = False
) -> None:
    """Bring every part that `root` lacks: fetch, verify, unzip, and remove the archive (one that was there stays).

    Raises:
        UsageError: `base_url` is not an http or https address.
        PoseError: too little space, the server refuses or fails for good, or an archive is not the published one.
    """
    if not base_url.startswith(("http://", "https://")):
        raise UsageError(f"--base-url: {base_url!r} is not an http:// or https:// address")
    root = check_writable(root)
    missing = [part for part in parts if not is_finished(root, part)]
    for part in missing:
        for path in (root / part.name, *_working_files(root, part)):
            if path.is_symlink():
                raise PoseError(
                    f"{path} is a link and {part.name} is incomplete: nothing is written outside {root}; "
                    "replace the link by a folder, or give the folder that it points into as ROOT"
                )
    _require_space(root, missing, keep_archives)
    for part in parts:
        if part in missing:
            archive = _working_files(root, part)[0]
            is_ours = not archive.exists()  # one that somebody has put there is theirs
            fetch_archive(f"{base_url.rstrip('/')}/{part.archive}", archive, part.size, part.sha256)
            unzip(archive, root, part)
            if is_ours and not keep_archives:
                archive.unlink()
        print(f"{part.name}: {part.files:,} files in {root / part.name}", flush=True)


def is_finished(root: Path, part: Part) -> bool:
    """Whether all files of a part are in place and none is empty."""
    try:
        with os.scandir(root / part.name) as entries:
            return part.files <= sum(
                1 for e in entries if re.fullmatch(part.pattern, e.name) and e.is_file() and e.stat().st_size
            )
    except (FileNotFoundError, NotADirectoryError):
        return False


def fetch_archive(url: str, target: Path, size: int, sha256: str) -> None:
    """Download an archive to `target`; nothing is fetched where a sound `target` exists.

    Raises:
        PoseError: see `mspose.runtime.transfer.fetch`; or `target` is there and not the published archive.
    """
    if not target.exists():
        fetch(url, target, size, sha256, "is --base-url right, or is a login page or proxy in between?")
    elif file_size(target) != size or digest_of(target) != sha256:
        raise PoseError(f"{target} is not the published archive (cut short or changed): delete it and run again")


def unzip(archive: Path, root: Path, part: Part) -> None:
    """Unzip the wanted files of a part to `root`/`part.name` by way of a temporary folder in `root`.

    A file appears in its place only when the whole archive has been unzipped and its checksums were right; an
    interrupted run starts the unzipping anew.

    Raises:
        PoseError: the archive is damaged, holds links or paths that lead out of its folder, or has not the expected
            files; nothing is unzipped then.
    """
    staging = _working_files(root, part)[-1]
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = _wanted(file, archive, part)
            staging.mkdir()
            for member in tqdm(members, f"unzipping {part.name}", unit="file", disable=None):
                name = member.filename.rpartition("/")[2]
                with file.open(member) as source, (staging / name).open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
        folder = root / part.name
        folder.mkdir(exist_ok=True)
        for member in members:
            name = member.filename.rpartition("/")[2]
            (staging / name).replace(folder / name)
    except DAMAGED as error:
        raise PoseError(f"{archive}: damaged archive ({error}): delete it and run again") from error
    except OSError as error:
        raise PoseError(f"cannot unzip {archive}: {error.strerror}: {error.filename or root}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _wanted(file: zipfile.ZipFile, archive: Path, part: Part) -> list[zipfile.ZipInfo]:
    """The members to unzip, once the whole list of the archive has been found harmless and complete."""
    pattern = rf"{re.escape(part.name)}/{part.pattern}"
    wanted = [member for member in harmless(file, archive) if re.fullmatch(pattern, member.filename)]
    if len(wanted) != part.files:
        raise PoseError(
            f"{archive}: holds {len(wanted):,} of the {part.files:,} files of {part.name}; delete it and run again"
        )
    # zipfile never yields more bytes of a member than its entry declares, so the declared sum is a limit.
    total = sum(member.file_size for member in wanted)
    if total > part.unzipped:
        raise PoseError(
            f"{archive}: would take {gigabytes(total)}, at most {gigabytes(part.unzipped)} are expected; "
            "nothing was unzipped"
        )
    return wanted


def _require_space(root: Path, parts: Sequence[Part], keep_archives: bool) -> None:
    """Check that the archives and their contents fit; an archive is in the way only until it is unzipped."""
    resident = peak = 0
    for part in parts:
        archive, partial, *_ = _working_files(root, part)
        present = file_size(archive) + file_size(partial)
        to_fetch = max(0, part.size - present)
        peak = max(peak, resident + to_fetch + part.unzipped)
        resident += part.unzipped + (to_fetch if keep_archives else -present)
    free = shutil.disk_usage(root).free
    if peak > free:
        raise PoseError(
            f"{root}: {gigabytes(peak)} are needed for {', '.join(part.name for part in parts)} "
            f"(archive and contents), {gigabytes(free)} are free; free some, or fetch fewer --parts"
        )


def _working_files(root: Path, part: Part) -> tuple[Path, ...]:
    """The archive, its partial transfer, the note about that, and the folder it is unzipped in."""
    archive = root / part.archive.rpartition("/")[2]
    return archive, *partial_files(archive), root / f".{part.name}.unzipping"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 when a part could not be had or the folder has problems."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="mspose download", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("root", type=user_path, metavar="ROOT", help="the dataset's folder")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument("--base-url", default=BASE_URL, help="a mirror of %(default)s")
    parser.add_argument("--check-only", action="store_true", help="examine ROOT, fetch nothing")
    parser.add_argument("--keep-archives", action="store_true", help="leave the archives in ROOT")
    arguments = parser.parse_args(argv)
    try:
        if not arguments.check_only:
            parts = [part for part in PARTS if part.name in arguments.parts]
            download(arguments.root, parts, arguments.base_url, arguments.keep_archives)
            return 0
        problems = check(arguments.root, arguments.parts)
    except PoseError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    for problem in problems:
        print(problem)
    print(
        f"{arguments.root}: {len(problems)} problem{'s' * (len(problems) != 1)} found"
        if problems
        else f"{arguments.root}: {', '.join(arguments.parts)} are complete"
    )
    return 1 if problems else 0
