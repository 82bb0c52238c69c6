"""What export.py does: a checkpoint becomes a file for deployment, proven to give the checkpoint's outputs."""

from __future__ import annotations

import copy
import logging
import re
import shlex
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mspose.backends.open import EXPORTED, check_checkpoint
from mspose.checkpoints.card import ModelCard, card_path, file_hash, is_exported
from mspose.codecs.base import Codec
from mspose.config.schema import Config, RuntimeConfig
from mspose.data.coco import image_folder
from mspose.data.topdown import Normalizer
from mspose.errors import PoseError, UsageError, one_line
from mspose.export.ascend import ONNX_INPUT, Kit, kit_paths, mindir_input
from mspose.export.card_text import describe_outputs, make_card
from mspose.files import atomic_group, check_writable, write_text
from mspose.geometry import resize_canvas
from mspose.images import ImageError, read_image
from mspose.methods.base import Forward
from mspose.networks import build_model, find_network, method_of
from mspose.outputs import check_targets
from mspose.runtime.device import start
from mspose.runtime.logs import mindspore_silent
from mspose.runtime.results import locked
from mspose.skeleton import load_skeleton

if TYPE_CHECKING:
    import mindspore as ms
    from mindspore import nn

log = logging.getLogger("pose")

ENDING = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air"}
# Largest differences allowed without export.tolerance: in float32 on a CPU; with float16 weights, or on a card.
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2


@dataclass(frozen=True)
class Form:
    """What is exported: the path, and the input's batch and (width, height), None where any."""

    path: Path
    batch: int | None
    size: tuple[int, int] | None
    base: tuple[int, int]  # the size itself, or one of the many
    pixels: bool

    @property
    def shape(self) -> list[int | None]:
        """Shape of the input."""
        width, height = self.size or (None, None)
        return [self.batch, height, width, 3] if self.pixels else [self.batch, 3, height, width]

    @property
    def traced(self) -> tuple[list[int], list[int] | None]:
        """Shapes with which a graph that takes any shape is traced: where the two differ, it must be free."""
        (batch, (width, height)), *rest = self.trials
        first = [batch, height, width, 3] if self.pixels else [batch, 3, height, width]
        if not rest:
            return first, None
        batch, (width, height) = rest[0]
        return first, [batch, height, width, 3] if self.pixels else [batch, 3, height, width]

    @property
    def trials(self) -> list[tuple[int, tuple[int, int]]]:
        """Batches and sizes with which the exported file is tried."""
        batches = (1, 3) if self.batch is None else (self.batch, self.batch)
        other = self.size or (self.base[0] + 32, self.base[1] + 64)
        return [(batches[0], self.base), *([(batches[1], other)] if None in (self.batch, self.size) else [])]


def form_of(config: Config) -> Form:
    """Where to and with which input; nothing is done yet.

    Raises:
        UsageError: the file name has the ending of another format, or AIR is to take any batch.
    """
    export = config.export
    path = Path(export.file_name or Path(config.runtime.output) / config.model.name)
    ending = ENDING[export.file_format]
    if path.suffix.lower() in ENDING.values() and path.suffix.lower() != ending:
        raise UsageError(
            f"export.file_name {path} is not a name for export.file_format={export.file_format}, which ends in {ending}"
        )
    path = path if path.suffix.lower() == ending else path.with_name(path.name + ending)
    width, height = export.size or config.data.input_size
    base = width, height
    fixed = export.size or export.file_format == "AIR"  # whose converter takes no free sizes
    if export.file_format == "AIR" and export.batch_size is None:
        raise UsageError("export.batch_size=null: an AIR file has a fixed batch; give a number")
    size = None if find_network(config.model.name).takes_any_size and not fixed else base
    return Form(path, export.batch_size, size, base, export.preprocess)


def export_checkpoint(config: Config) -> Path:
    """Write the exported model and its card, and check it against the checkpoint.

    Raises:
        PoseError, UsageError: no or an unusable checkpoint, a package is missing, AIR without Ascend, the file cannot
            be written, or its outputs differ from the checkpoint's by more than `export.tolerance`: then it is removed.
    """
    check_checkpoint(config, "to export")
    if Path(config.runtime.ckpt).suffix.lower() in EXPORTED:
        raise UsageError(f"exported already: {config.runtime.ckpt}; export makes files of checkpoints (.ckpt, .pth, …)")
    what, kind = form_of(config), config.export.file_format
    with locked(check_writable(what.path.parent), "export", what.path):
        return _export_checkpoint(what, kind, config)


def _export_checkpoint(what: Form, kind: str, config: Config) -> Path:
    targets = [what.path, card_path(what.path), *kit_paths(what.path)]
    check_targets(config, targets, [card_path(what.path)], is_record=is_exported)
    if kind == "ONNX":
        from mspose.export.onnx_graph import import_onnx

        import_onnx()
    if kind != "AIR" and config.runtime.device == "auto":
        config.runtime.device = "CPU"  # the same file from anywhere, compared in full precision
    evaluator = None
    if config.export.quantize == "int8":
        from mspose.export.quantize import open_evaluator

        evaluator = open_evaluator(config)
    runtime = start(config.runtime)
    if kind == "AIR" and runtime.device != "Ascend":
        raise UsageError(
            f"export.file_format=AIR needs an Ascend device, and this is {runtime.device}; choose MINDIR "
            "or ONNX, which any device exports"
        )
    from mspose.backends.checkpoint import MindSporeBackend
    from mspose.checkpoints.initial import load_checkpoint

    log.info(f"loading {config.runtime.ckpt}")
    # Networks that take one size are built for that of the file.
    sized = replace(config, data=replace(config.data, input_size=list(what.base)))
    network = build_model(sized).set_train(False)
    load_checkpoint(network, sized)
    exported = prepare(network, config)
    reference = MindSporeBackend(network, any_size=True)
    method = method_of(config)
    outputs = describe_outputs(method, output_shapes(reference, what, method.codec))
    with atomic_group(what.path, card_path(what.path)) as (temporary, card):
        write(exported, what, config, [output["name"] for output in outputs], temporary)
        log.info(f"{kind} of {temporary.stat().st_size / 2**20:.1f} MiB; comparing with the checkpoint")
        differences = {} if kind == "AIR" else compare(temporary, reference, what, config)
        described = _card(config, what, outputs, differences, file_hash(temporary))
        if evaluator is not None:
            from mspose.export.quantize import quantize

            facts = quantize(temporary, described, config, evaluator)
            model = {**described.model, "sha256": file_hash(temporary)}
            described = replace(described, model=model, source={**described.source, "int8": facts})
        described.save(card)
    log.info(f"exported {what.path}, card {card_path(what.path)}")
    _write_kit(what, kind, config)
    return what.path


def _write_kit(what: Form, kind: str, config: Config) -> None:
    """Write what Ascend's converters need beside the exported file, and remove what they needed for an earlier one."""
    texts: dict[Path, str] = {}
    # AIR's only converter takes it as it is; ATC knows no int8 files but AMCT's.
    if kind != "AIR" and config.export.quantize != "int8":
        name = mindir_input(what.path) if kind == "MINDIR" else ONNX_INPUT
        texts = Kit(what.path, kind, name, what.batch, what.base, what.pixels, config.data).texts()
        log.info(f"for Ascend cards: bash {shlex.quote(str(kit_paths(what.path)[0]))} says how to convert it")
    for path in kit_paths(what.path):
        if path in texts:
            write_text(path, texts[path])
        else:
            path.unlink(missing_ok=True)


def prepare(network: nn.Cell, config: Config) -> nn.Cell:
    """The network as it is exported; its own weights stay."""
    from mspose.models.fold import FromPixels, fold_batch_norm, halve_weights, unfolded
    from mspose.models.gelu import GELU
    from mspose.models.resnet import MaxPool

    export, data = config.export, config.data
    exported = fold_batch_norm(network) if export.fold_batch_norm else copy.deepcopy(network)
    if export.fold_batch_norm and (norm := unfolded(exported)):
        raise PoseError(
            f"export.fold_batch_norm: {norm} does not say which convolution it is behind (BatchNorm2d(channels, "
            "behind=conv)), or is behind none; export.fold_batch_norm=false exports it as it is"
        )
    for _, cell in exported.cells_and_names():
        if isinstance(cell, MaxPool):
            cell.exported = True
        elif isinstance(cell, GELU):
            cell.exported = export.file_format
    if export.half:
        exported = halve_weights(exported)
    if export.preprocess:
        exported = FromPixels(exported, data.color, data.scale, data.mean, data.std)
    return exported.set_train(False)


def write(network: nn.Cell, what: Form, config: Config, output_names: list[str], path: Path) -> None:
    """Write a network as a file.

    Raises:
        PoseError: MindSpore cannot, or the disk is full.
    """
    import mindspore as ms

    dtype = np.uint8 if what.pixels else np.float32
    (first, second), kind = what.traced, config.export.file_format
    if kind != "ONNX":
        any_shape = ms.Tensor(shape=what.shape, dtype=ms.uint8 if what.pixels else ms.float32)
        _export(network, any_shape if None in what.shape else ms.Tensor(np.zeros(first, dtype)), kind, path, what.path)
        return
    from mspose.export.onnx_graph import repair
    from mspose.models.gelu import GELU, ONNX_STAND_IN
    from mspose.models.layers import DECONV_PADDING

    has_erf = any(isinstance(cell, GELU) for _, cell in network.cells_and_names())
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other.onnx" if second else None
        for shape, file in ((first, path), (second, other)):
            if shape is not None and file is not None:
                _export(network, ms.Tensor(np.zeros(shape, dtype)), kind, file, what.path)
        repair(
            path,
            other,
            ONNX_INPUT,
            output_names,
            what.batch is None,
            what.size is None,
            what.pixels,
            DECONV_PADDING,
            ONNX_STAND_IN if has_erf else {},
        )


def _export(network: nn.Cell, inputs: ms.Tensor, kind: str, path: Path, final: Path) -> None:
    import mindspore as ms

    # MindSpore refuses paths with spaces or letters beyond ASCII: it writes to a folder that has none.
    usual = tempfile.gettempdir()
    usual = usual if re.fullmatch(r"[\w@.:/-]+", usual, re.ASCII) else "/tmp"
    try:
        with mindspore_silent(), tempfile.TemporaryDirectory(dir=usual) as folder:
            written = Path(folder) / f"network{path.suffix}"
            ms.export(network, inputs, file_name=str(written), file_format=kind)
            shutil.copyfile(written, path)
    except Exception as error:  # of various types
        reason = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
        raise PoseError(f"MindSpore cannot write {final}: {reason} (disk full?)") from error


def output_shapes(reference: Forward, what: Form, codec: Codec) -> list[list[int | None]]:
    """Shapes of a network's outputs, None where any."""
    width, height = what.base
    outputs = reference(np.zeros((1, 3, height, width), np.float32))
    codec.check(outputs, what.base)
    shapes = [maps.shape[1:] for maps in outputs] if what.size else [spec.shape for spec in codec.outputs(None)]
    return [[what.batch, *shape] for shape in shapes]


def compare(path: Path, reference: Forward, what: Form, config: Config) -> dict[str, float]:
    """Largest differences between a file's outputs and the checkpoint's, as a share of the largest output.

    Raises:
        PoseError: above tolerance, or the file cannot be run.
    """
    backend = _open(path, config)
    # Cards compute convolutions of float32 numbers in fewer bits (HF32, TF32), in another order for folded ones.
    rounded = config.export.half or config.runtime.device != "CPU"
    limit = config.export.tolerance or (HALF_TOLERANCE if rounded else TOLERANCE)
    differences = {"random": 0.0, "real": 0.0}
    normalize, rng = Normalizer(config.data), np.random.default_rng(0)
    for batch, size in what.trials:
        pictures = {
            "random": rng.integers(0, 256, (batch, size[1], size[0], 3), np.uint8),
            "real": np.stack([_real_picture(config, size)] * batch),
        }
        for name, pixels in pictures.items():
            inputs = np.stack([normalize(picture) for picture in pixels])
            expected, given = reference(inputs), backend.run_raw(pixels if what.pixels else inputs)
            if [maps.shape for maps in expected] != [maps.shape for maps in given]:
                raise PoseError(
                    f"the exported {what.path.name} gives {[maps.shape for maps in given]}, the checkpoint "
                    f"{[maps.shape for maps in expected]}: this is a fault of the export"
                )
            for a, b in zip(expected, given):
                share = float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12))
                differences[name] = max(differences[name], share if np.isfinite(share) else np.inf)
    worst = max(differences.values())
    log.info(
        f"largest difference from the checkpoint, as a share of the largest output: random input "
        f"{differences['random']:.2e}, real input {differences['real']:.2e} (limit {limit:g})"
    )
    if not worst <= limit:
        raise PoseError(
            f"the exported {what.path.name} differs from the checkpoint by {worst:.2e} of the largest "
            f"output, export.tolerance is {limit:g}: the file was removed"
        )
    return differences


def _open(path: Path, config: Config):  # the backends differ in what they import
    if config.export.file_format == "ONNX":
        from mspose.backends.onnx_runtime import open_onnx

        return open_onnx(path, RuntimeConfig(device="CPU"))
    from mspose.backends.mindir import open_mindir

    return open_mindir(path, config.runtime)


def _real_picture(config: Config, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) uint8: the evaluation set's first, or a drawn one where there is none."""
    folder = image_folder(config.data, "val")
    for path in sorted(folder.glob("*.jpg"))[:1] if folder.is_dir() else []:
        try:
            return resize_canvas(read_image(path), size)[0]
        except ImageError:
            break
    from mspose.synthetic.sample import scene

    return scene(np.random.default_rng(0), *size, load_skeleton("coco17").keypoints)[0]


def _card(
    config: Config, what: Form, outputs: list[dict[str, Any]], differences: dict[str, float], model_hash: str
) -> ModelCard:
    config = copy.deepcopy(config)
    config.data.input_size = list(what.base)
    if what.size:
        find_network(config.model.name).method.fix_size(config)
    method = method_of(config)
    packages = ("mindspore", "numpy", *(("onnx", "onnxruntime") if config.export.file_format == "ONNX" else ()))
    return make_card(
        method,
        {"file": what.path.name, "format": config.export.file_format, "sha256": model_hash},
        {
            "name": ONNX_INPUT,
            "dtype": "uint8" if what.pixels else "float32",
            "layout": "NHWC" if what.pixels else "NCHW",
            "shape": what.shape,
            "size": list(what.size) if what.size else None,
        },
        outputs,
        {
            "checkpoint": Path(config.runtime.ckpt).name,
            "sha256": file_hash(config.runtime.ckpt),
            "difference": differences,
        },
        packages,
    )
