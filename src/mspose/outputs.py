"""What results may replace: nothing that is read, and nothing that this program did not write.

Every command saves its configuration beside its results, before them. That record is what tells results of an earlier
run, which may be replaced, from files of somebody else, which may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from mspose.checkpoints.beside import description_file, description_of, is_description
from mspose.checkpoints.card import card_path
from mspose.checkpoints.ckpt_file import read_ckpt
from mspose.checkpoints.runs import COUNTERS, numbered
from mspose.config.schema import PATHS, SECTIONS, Config
from mspose.config.text import read_yaml, save_config
from mspose.data.coco import annotation_file
from mspose.errors import PoseError, UsageError
from mspose.files import atomic_group, file_fault, find_same, write_json
from mspose.runtime.numbered import place


def is_configuration(path: Path) -> bool:
    """Whether a file is a configuration as commands save it: one with all sections."""
    try:
        return path.is_file() and read_yaml(path).keys() >= SECTIONS.keys()
    except PoseError:
        return False


def check_targets(
    config: Config,
    targets: Iterable[Path],
    records: Iterable[Path],
    pictures: Iterable[Path] = (),
    is_record: Callable[[Path], bool] = is_configuration,
) -> None:
    """Refuse to write results over what is read, or over files that no earlier run wrote.

    Args:
        targets: files that will be written.
        records: what earlier runs saved beside such files; one is enough.
        pictures: what is read besides the files that the configuration names.
        is_record: whether a file is such a record, and not somebody else's of that name.

    Raises:
        UsageError: a file is in the way; it is named.
    """
    targets, records = list(targets), list(records)
    found = find_same(targets, [*_read(config), *((path, "an input") for path in pictures)])
    if found:
        raise UsageError(
            f"{found[0]} would be replaced, and is read ({found[1]}): choose another output=DIR or file name"
        )
    known = any(map(is_record, records))
    for path in targets:
        if path.exists() and not (is_record(path) if path in records else known):
            beside = "" if path in records else f" {records[0].name} beside it says that an"
            raise UsageError(
                f"{path} is there already, and no{beside} earlier run wrote it: choose another output=DIR or file "
                "name, or move it away"
            )


def check_run_folder(config: Config, folder: Path) -> None:
    """Refuse to train into a folder where a file that no run wrote has the name of one that runs write.

    Whether a run may be started or continued there at all is another question, see `checkpoints.runs.traces`.

    Raises:
        UsageError: a file is in the way; it is named.
    """
    written: dict[Path, Callable[[Path], bool]] = {
        folder / "config.yaml": is_configuration,
        folder / "metrics.jsonl": _are_records,
        folder / "last.yaml": is_description,
        folder / "best.yaml": is_description,
        **{path: is_description for path in folder.glob("*.yaml") if place(path.name)},
    }
    check_targets(config, [*written, folder / "curves.png"], written, is_record=lambda path: written[path](path))
    for path in numbered(folder, config.model.name):
        if not _is_training_checkpoint(path):
            raise UsageError(
                f"{path} is there already, no run wrote it, and it is called as the checkpoints that a run writes and "
                "removes: choose another output=DIR, or move it away"
            )


def _are_records(path: Path) -> bool:
    """Whether a file is a metrics.jsonl of ours, maybe with a single line that was cut, or empty."""
    beginning = b'{"step": '
    if file_fault(path):
        return False
    try:
        with path.open("rb") as file:
            return beginning.startswith(file.read(len(beginning)))
    except OSError:
        return False


def _is_training_checkpoint(path: Path) -> bool:
    """Whether a numbered checkpoint is of a run; one that was killed may have left it without its description."""
    try:
        return is_description(description_file(path)) or COUNTERS[0] in read_ckpt(path)
    except PoseError:  # another program's
        return False


def result_files(folder: Path, record: str) -> tuple[list[Path], list[Path]]:
    """Files that an evaluation writes, its record among them, and the records of all commands that write such files."""
    files = [folder / name for name in ("keypoints_results.json", "metrics.json", record)]
    return files, [folder / record, folder / "eval_config.yaml", folder / "postprocess_config.yaml"]


def save_results(config: Config, folder: Path, record: str, results: list[dict], metrics: Mapping[str, object]) -> None:
    """Write what `result_files` names: all of it, or nothing, and then that of an earlier evaluation stays.

    Raises:
        PoseError: a file cannot be written.
    """
    files = folder / "metrics.json", folder / record, folder / "keypoints_results.json"
    with atomic_group(*files) as (figures, configuration, found):
        save_config(config, configuration)
        write_json(found, results)
        write_json(figures, metrics, indent=2)


def _read(config: Config) -> Iterator[tuple[Path, str]]:
    """Files that a run may read, each with the key that names it."""
    for key in PATHS:
        section, _, name = key.partition(".")
        value = getattr(getattr(config, section), name, "")  # not every network has every key
        if value:
            yield Path(value), key
            if key == "eval.bbox_file":  # it may start from there too
                yield Path(config.data.root, value), key
    if config.runtime.ckpt:
        yield card_path(config.runtime.ckpt), "the model card of runtime.ckpt"
        description = description_of(config.runtime.ckpt)
        if description is not None:
            yield description, "what lies beside runtime.ckpt"
    for split in ("train", "val"):
        yield annotation_file(config.data, split), f"data.{split}_annotations"
