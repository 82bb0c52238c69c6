"""Runs on ModelArts: data from object storage (OBS) before a run, results to it while it goes on and at its end.

The platform starts the script once for each card, with `--data_url=obs://… --train_url=obs://…` and whatever
parameters were entered for the job, each as `--name=value`. Files travel by way of moxing, which its images contain.
Newer jobs fetch the data themselves and name local folders instead; these are used in place.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mspose.archives import DAMAGED, harmless
from mspose.config.schema import Config, ModelArtsConfig
from mspose.errors import PoseError, UsageError
from mspose.files import check_writable, write_text
from mspose.runtime.numbered import place
from mspose.runtime.ranks import launched

log = logging.getLogger("pose")

UPLOAD_SECONDS = 30.0
TRACES = ("last.ckpt", "best.ckpt", "metrics.jsonl")  # each shows that a training run is in a folder
MARK = ".copied"  # in a folder whose content is complete: the address it came from
# Keys that may name a file of the data set: those below data.root move with it.
DATA_PATHS = (
    "data.train_annotations",
    "data.val_annotations",
    "data.train_images",
    "data.val_images",
    "data.mask_dir",
    "eval.bbox_file",
    "model.pretrained",
    "train.init_from",
    "runtime.ckpt",
)


@contextmanager
def job(config: Config) -> Iterator[list[str]]:
    """Fetch what the run needs; copy its results to `modelarts.train_url` until the block ends, well or not.

    One process on each machine fetches while the others wait; that of rank 0 sends the results.

    Yields:
        Arguments `key=value` that point the configuration to the local copies.

    Raises:
        PoseError: nothing at an address, no moxing, no room, an archive that is damaged or would write elsewhere.
    """
    options = config.modelarts
    moved: list[str] = []
    if options.data_url:
        root = _fetch_data(options)
        moved += [f"data.root={root}", *_moved_paths(config, root)]
    if options.checkpoint_url:
        with _once(Path(options.load_path), options.checkpoint_url) as needed:
            if needed:
                _copy_tree(options.checkpoint_url, options.load_path)
    url = options.train_url
    output = _output_folder(config)
    moved.append(f"runtime.output={output}")
    if config.export.file_name and not Path(config.export.file_name).is_absolute():
        moved.append(f"export.file_name={Path(output, config.export.file_name)}")
    if not _is_remote(url):
        if not url:
            log.warning(f"note: modelarts.train_url is not given: results stay in {output}")
        yield moved
        return
    upload = _Upload(Path(options.output_path), url)
    if config.train.resume == "auto":
        _fetch_run(options, output, upload)
    elif launched().is_first:
        _refuse_used(config, output)
    log.info(f"results in {output}, copied to {url}")
    if not launched().is_first:
        yield moved
        return
    upload.start()
    try:
        yield moved
    except BaseException:
        try:
            upload.finish()
        except PoseError as error:  # the run's own error is the one to report
            log.warning(f"note: {error}")
        raise
    upload.finish()


def unzip(archive: Path, folder: Path) -> None:
    """Unzip a whole archive into `folder` by way of a temporary folder there.

    Raises:
        PoseError: the archive is damaged, encrypted or larger than the free space, or holds links or paths that lead
            out of its folder; nothing is unzipped then.
    """
    staging = folder / f".{archive.stem}.unzipping"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            members = _fitting(file, archive, folder)
            staging.mkdir(parents=True)
            for member in members:
                target = staging / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
        for member in members:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            (staging / member.filename).replace(target)
    except DAMAGED as error:
        raise PoseError(f"{archive}: cannot be unzipped ({error}); is it damaged or encrypted?") from error
    except OSError as error:
        raise PoseError(f"cannot unzip {archive}: {error.strerror}: {error.filename or folder}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fitting(file: zipfile.ZipFile, archive: Path, folder: Path) -> list[zipfile.ZipInfo]:
    """The files of an archive, once its whole list has been checked, and that there is room for them."""
    members = harmless(file, archive)
    if not members:
        raise PoseError(f"{archive}: holds no files")
    # zipfile never yields more bytes of a member than its entry declares, so the declared sum is a limit.
    needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
    if needed > free:
        raise PoseError(
            f"{archive}: {needed / 1e9:.1f} GB are needed to unzip it, {free / 1e9:.1f} GB are free in "
            f"{folder}; choose another modelarts.data_path"
        )
    return members


def _fetch_data(options: ModelArtsConfig) -> Path:
    """The folder that holds the data set of `data_url`, on this machine."""
    url, folder = options.data_url, Path(options.data_path)
    if not _is_remote(url) and not Path(url).exists():
        raise UsageError(f"modelarts.data_url: no such folder: {url} (an address in OBS begins with obs://)")
    if not _is_remote(url) and Path(url).is_dir() and not list(Path(url).glob("*.zip")):
        return _data_root(Path(url))
    with _once(folder, url) as needed:
        if needed:
            if not _is_remote(url):
                archives = sorted(Path(url).glob("*.zip")) if Path(url).is_dir() else [Path(url)]
                for archive in archives:
                    _announced_unzip(archive, folder)
                if Path(url).is_dir():
                    _link_missing(Path(url), folder)
            else:
                if url.endswith(".zip"):
                    _copy_file(url, str(folder / url.rpartition("/")[2]))
                else:
                    _copy_tree(url, str(folder))
                for archive in sorted(folder.glob("*.zip")):
                    _announced_unzip(archive, folder)
                    archive.unlink()
    return _data_root(folder)


def _link_missing(source: Path, target: Path) -> None:
    """Link what lies beside archives, such as annotations/, to where these were unzipped; what is there stays."""
    for path in source.iterdir():
        linked = target / path.name
        if path.name.startswith(".") or path.suffix == ".zip":
            continue
        if not os.path.lexists(linked):
            linked.symlink_to(path.absolute())
        elif path.is_dir() and linked.is_dir() and not linked.is_symlink():
            _link_missing(path, linked)


def _announced_unzip(archive: Path, folder: Path) -> None:
    log.info(f"unzipping {archive}")
    unzip(archive, folder)


def _data_root(folder: Path) -> Path:
    """`folder`, or the first folder in it, that holds annotations/; `folder` itself if none does."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return next((path for path in (folder, *inner) if (path / "annotations").is_dir()), folder)


def _moved_paths(config: Config, root: Path) -> Iterator[str]:
    """Arguments that move the configured files below data.root to the new root."""
    for key in DATA_PATHS:
        section, name = key.split(".")
        path = Path(getattr(getattr(config, section), name, ""))  # not every network has all of them
        if path.is_relative_to(config.data.root) and path != Path(config.data.root):
            yield f"{key}={root / path.relative_to(config.data.root)}"


def _output_folder(config: Config) -> str:
    """Where the run writes: within the folder that is copied, or in a local `train_url` itself."""
    options = config.modelarts
    if options.train_url and not _is_remote(options.train_url):
        return options.train_url
    inside = Path(config.runtime.output).is_relative_to(options.output_path)
    return config.runtime.output if inside else options.output_path


def _fetch_run(options: ModelArtsConfig, output: str, upload: _Upload) -> None:
    """Bring an earlier run back for `train.resume=auto`; its files need not be sent again."""
    url = _address(options, output)
    with _once(Path(output), url) as needed:
        if needed and _trace(url):
            _copy_tree(url, output)
            upload.note_present()


def _refuse_used(config: Config, output: str) -> None:
    """Keep a training from replacing an earlier one at its address.

    Raises:
        UsageError: there is one.
    """
    if config.runtime.ckpt or config.train.performance_steps:  # evaluates, exports or measures
        return
    url = _address(config.modelarts, output)
    found = _trace(url)
    if found:
        raise UsageError(
            f"modelarts.train_url: {found} is there already, of an earlier run: train.resume=auto continues it, "
            "another train_url starts another one"
        )


def _address(options: ModelArtsConfig, output: str) -> str:
    """Where the content of a folder for results goes."""
    below = Path(output).relative_to(options.output_path).as_posix()
    return options.train_url.rstrip("/") + ("" if below == "." else f"/{below}")


def _trace(url: str) -> str:
    """The address of what shows that a training run is at an address; empty without."""
    return next((f"{url}/{name}" for name in TRACES if _call("exists", f"{url}/{name}")), "")


@contextmanager
def _once(folder: Path, source: str) -> Iterator[bool]:
    """Whether the block has to fill `folder` from `source`; other processes on this machine wait until it has.

    The lock is the kernel's, so a process that dies while it copies does not hold up the next one, which starts anew.
    """
    check_writable(folder)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info(f"waiting for another process that copies {source} to {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        mark = folder / MARK
        done = mark.read_text(encoding="utf-8") if mark.is_file() else ""
        if done and done != source:
            raise PoseError(f"{folder} holds a copy of {done}, not of {source}: remove it or choose another folder")
        yield not done
        if not done:
            write_text(mark, source)


class _Upload:
    """Copies new and changed files of a folder to OBS, at intervals and at the end.

    Files here are written beside their place and moved into it (`mspose.files`), so what is sent is whole, but for logs
    and metrics, which grow and are sent again; names that begin with a dot are not results. An old checkpoint that the
    run removes, having written newer ones, is removed there too. Nothing else is: a file may be gone because a disk is.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url.rstrip("/")
        self._sent: dict[str, tuple[int, int]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="upload", daemon=True)

    def start(self) -> None:
        check_writable(self._folder)
        _moxing()  # found missing now, not after hours of training
        self._thread.start()

    def note_present(self) -> None:
        """Take what the folder holds now as sent."""
        self._sent = self._files()

    def finish(self) -> None:
        """Send what is left.

        Raises:
            PoseError: some files could not be sent.
        """
        self._done.set()
        self._thread.join()
        self._send()
        log.info(f"results copied to {self._url}")

    def _watch(self) -> None:
        while not self._done.wait(UPLOAD_SECONDS):
            try:
                self._send()
            except PoseError as error:
                log.warning(f"note: {error}; trying again")

    def _send(self) -> None:
        files = self._files()
        for name, state in files.items():
            if self._sent.get(name) == state:
                continue
            try:
                _copy_file(str(self._folder / name), f"{self._url}/{name}")
            except PoseError:
                if (self._folder / name).exists():
                    raise
            else:
                self._sent[name] = state
        newest = max(filter(None, map(_place, files)), default=(0, 0))
        for name in self._sent.keys() - files.keys():
            old = _place(name)
            if old is None or old >= newest:
                continue
            if _call("exists", f"{self._url}/{name}"):
                _call("remove", f"{self._url}/{name}")
            del self._sent[name]

    def _files(self) -> dict[str, tuple[int, int]]:
        """Relative path → time and size of every result.

        Raises:
            PoseError: the folder is gone, or it or one below it cannot be listed.
        """
        found = {}
        for folder, folders, names in os.walk(self._folder, onerror=_cannot_list):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for path in (Path(folder, name) for name in names if not name.startswith(".")):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                found[path.relative_to(self._folder).as_posix()] = (status.st_mtime_ns, status.st_size)
        return found


def _place(name: str) -> tuple[int, int] | None:
    return place(name.rpartition("/")[2])


def _cannot_list(error: OSError) -> None:
    raise PoseError(f"results cannot be listed: {error.filename}: {error.strerror}; nothing is sent") from error


def _is_remote(url: str) -> bool:
    return "://" in url


def _moxing() -> ModuleType:
    try:
        import moxing
    except ImportError as error:
        raise PoseError(
            "modelarts: addresses in OBS need moxing, which only ModelArts' own images contain; run there, "
            "or give local folders as modelarts.data_url and modelarts.train_url"
        ) from error
    return moxing


def _copy_tree(source: str, target: str) -> None:
    log.info(f"copying {source} to {target}")
    _call("copy_parallel", source, target)


def _copy_file(source: str, target: str) -> None:
    _call("copy", source, target)


def _call(name: str, *arguments: str) -> object:
    function = getattr(_moxing().file, name)
    try:
        return function(*arguments)
    except Exception as error:  # moxing raises whatever its HTTP client does
        reason = " ".join(str(error).split())[:300]
        what = f"{name} {' to '.join(arguments)}"
        raise PoseError(f"modelarts: {what} failed: {type(error).__name__}: {reason}") from error
