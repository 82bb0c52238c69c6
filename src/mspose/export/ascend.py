"""What Ascend's converters need for an exported model: command lines and configurations, in files beside it.

Written to the documentation of MindSpore Lite's converter_lite (`[ascend_context]`, --inputShape, dynamic_dims) and of
CANN's ATC (--dynamic_batch_size, --insert_op_conf, AIPP); docs/ascend.md names its pages. Not yet run on a card.
"""

from __future__ import annotations

import mmap
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mspose.checkpoints.card import card_path
from mspose.checkpoints.protobuf import as_bytes, message
from mspose.config.schema import DataConfig
from mspose.errors import PoseError

# Batches that a model of any batch is compiled for.
GEARS = (1, 2, 4, 8)
# What both converters compute in unless told otherwise, by the names that each has for it.
LITE_PRECISION, ATC_PRECISION = "enforce_fp16", "force_fp16"
# The largest that AIPP can subtract from a pixel.
_LARGEST_MEAN = 255.0
# What the input of our ONNX files is called.
ONNX_INPUT = "image"


@dataclass(frozen=True)
class Kit:
    """The files of a model.

    Attributes:
        model: the exported file; those of the kit are called like it, with an ending behind.
        kind: "MINDIR" or "ONNX".
        name: of the model's input, for Lite.
        batch: inputs a run, None: any.
        size: (width, height) of the input.
        pixels: whether it takes pixels (batch, height, width, BGR) and normalises them in its graph.
        data: how pixels become input.
    """

    model: Path
    kind: str
    name: str
    batch: int | None
    size: tuple[int, int]
    pixels: bool
    data: DataConfig

    def texts(self) -> dict[Path, str]:
        """Content of the files by their paths, of `kit_paths` those that this model needs."""
        script, lite, aipp, lite_aipp = kit_paths(self.model)
        files = {script: self._script(), lite: self._lite(self.pixels)}
        if self.pixels and (content := aipp_text(self.size, self.data)):
            floats = replace(self, name=ONNX_INPUT)._lite(False)
            files |= {aipp: content, lite_aipp: f"{floats}insert_op_config_file_path={aipp.name}\n"}
        return files

    def shape(self, pixels: bool) -> str:
        """Shape of the input, with commas; -1 for a batch of gears."""
        width, height = self.size
        batch = self.batch or -1
        sides = (batch, height, width, 3) if pixels else (batch, 3, height, width)
        return ",".join(map(str, sides))

    def _lite(self, pixels: bool) -> str:
        """Configuration of converter_lite."""
        lines = [
            "[ascend_context]",
            f"input_format={'NHWC' if pixels else 'NCHW'}",
            f"precision_mode={LITE_PRECISION}",
            "output_type=FP32",
        ]
        if self.batch is None:  # a fixed shape is converter_lite's --inputShape
            lines.append(f"input_shape={self.name}:[{self.shape(pixels)}]")
            lines.append("dynamic_dims=" + ",".join(f"[{gear}]" for gear in GEARS))
        return "\n".join(lines) + "\n"

    def lite_command(self, pixels: bool, model: str, config: Path, output: str) -> list[str]:
        """converter_lite for `model`, which may be a word that the shell replaces."""
        shape = [] if self.batch is None else [f"--inputShape={self.name}:{self.shape(pixels)}"]
        return [
            "converter_lite",
            f"--fmk={self.kind}",
            "--saveType=MINDIR",
            "--optimize=ascend_oriented",
            f"--modelFile={model}",
            f"--outputFile={output}",
            *shape,
            f"--configFile={config.name}",
        ]

    def atc_command(self, model: str, output: str, aipp: Path | None = None) -> list[str]:
        """Atc for an ONNX `model` that takes floats, but its --soc_version."""
        gears = [] if self.batch else [f"--dynamic_batch_size={','.join(map(str, GEARS))}"]
        return [
            "atc",
            "--framework=5",
            f"--model={model}",
            f"--output={output}",
            "--input_format=NCHW",
            f"--input_shape={ONNX_INPUT}:{self.shape(False)}",
            *gears,
            f"--precision_mode={ATC_PRECISION}",
            "--output_type=FP32",
            *([f"--insert_op_conf={aipp.name}"] if aipp else []),
        ]

    def _script(self) -> str:
        script, lite, aipp, lite_aipp = kit_paths(self.model)
        model, output = self.model.name, f"{self.model.stem}_ascend"
        usage = f"bash {shlex.quote(script.name)} lite|atc"
        card = shlex.join(["cp", card_path(self.model).name, f"{output}.mindir.json"])
        choices = {"lite": [_shell(self.lite_command(self.pixels, model, lite, output)), card]}
        note = ""
        if not self.pixels:
            onnx = f"{self.model.stem}.onnx"
            choices["atc"] = [_needs_onnx(onnx), _shell(self.atc_command(onnx, output), _SOC)]
        elif aipp_text(self.size, self.data):
            # ATC's documentation has pixels come in through AIPP only.
            usage = f"bash {shlex.quote(script.name)} lite [FLOAT_ONNX] | atc FLOAT_ONNX"
            note = _AIPP_NOTE.format(aipp=aipp.name)
            floats = replace(self, kind="ONNX", name=ONNX_INPUT)
            choices["lite+"] = [_shell(floats.lite_command(False, "$2", lite_aipp, output)), card]
            choices["atc+"] = [_shell(self.atc_command("$2", output, aipp), _SOC)]
        else:
            usage = f"bash {shlex.quote(script.name)} lite"
        cases = [f"    {word})\n" + "".join(f"        {line}\n" for line in lines) for word, lines in choices.items()]
        return _SCRIPT.format(
            model=model,
            usage=usage,
            batch=f"a batch of {self.batch}" if self.batch else f"batches of {', '.join(map(str, GEARS))}",
            size="x".join(map(str, self.size)),
            note=note,
            output=output,
            lite=LITE_PRECISION,
            atc=ATC_PRECISION,
            cases="        ;;\n".join(cases),
            wrong=shlex.quote(f"usage: {usage}"),
        )


def kit_paths(model: Path) -> tuple[Path, Path, Path, Path]:
    """Files that a kit may have: the script, converter_lite's configuration, AIPP's, and converter_lite's with AIPP."""
    names = ("ascend.sh", "ascend.ini", "aipp.cfg", "aipp.ini")
    script, lite, aipp, lite_aipp = (model.with_name(f"{model.name}.{name}") for name in names)
    return script, lite, aipp, lite_aipp


def aipp_text(size: tuple[int, int], data: DataConfig) -> str:
    """AIPP's configuration: pixels (height, width, BGR) become what a network that takes floats is fed.

    AIPP computes (pixel - mean_chn - min_chn) * var_reci_chn, after it has exchanged the channels. mean_chn is a whole
    number, min_chn is none. Empty where the mean is beyond what AIPP subtracts.
    """
    means = [mean * data.scale for mean in data.mean]
    if not all(0 <= mean <= _LARGEST_MEAN for mean in means):
        return ""
    lines = [
        "aipp_op {",
        "    aipp_mode: static",
        "    related_input_rank: 0",
        "    input_format: RGB888_U8",
        f"    src_image_size_w: {size[0]}",
        f"    src_image_size_h: {size[1]}",
        "    crop: false",
        "    csc_switch: false",
        f"    rbuv_swap_switch: {'true' if data.color == 'rgb' else 'false'}",
        *(f"    mean_chn_{channel}: 0" for channel in range(3)),
        *(f"    min_chn_{channel}: {mean:.6g}" for channel, mean in enumerate(means)),
        *(f"    var_reci_chn_{channel}: {1 / (data.scale * std):.8g}" for channel, std in enumerate(data.std)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def mindir_input(path: Path) -> str:
    """Name of a MindIR's first input, as Lite calls it: what stands behind the name of the graph.

    MindIR is a protocol buffer: `ModelProto {GraphProto graph = 7}`, `GraphProto {ValueInfoProto input = 5}`,
    `ValueInfoProto {string name = 1}`.

    Raises:
        PoseError: the file is none, or damaged.
    """
    try:
        with path.open("rb") as file:
            part = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        for number in (7, 5, 1):
            part = next(as_bytes(value) for found, value in message(part) if found == number)
        return bytes(part).decode().rpartition(":")[2]
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise PoseError(f"not a readable MindIR (damaged or cut short?): {path}") from error


def _shell(command: Sequence[str], *raw: str) -> str:
    """A command over several lines; what refers to $2, and raw words, the shell replaces."""
    words = [f'"{word}"' if word.endswith("=$2") else shlex.quote(word) for word in command]
    return " \\\n            ".join([*words, *raw])


def _needs_onnx(onnx: str) -> str:
    fault = shlex.quote(f"error: atc takes ONNX: export with export.file_format=ONNX to {onnx} first")
    return f"[ -f {shlex.quote(onnx)} ] || {{ echo {fault} >&2; exit 1; }}"


_SOC = '--soc_version="${SOC_VERSION:-Ascend310P3}"'
_SCRIPT = """\
#!/usr/bin/env bash
# Convert {model} for an Ascend card: {batch}, inputs of {size}.
#   {usage}
# lite         writes {output}.mindir, with MindSpore Lite's converter_lite on PATH, and its model card
# atc          writes {output}.om from the ONNX file, with CANN's atc, after `source set_env.sh`
# SOC_VERSION  for atc: Ascend, and the name that `npu-smi info` shows (default: Ascend310P3)
{note}# Precision: {lite} (Lite), {atc} (ATC). Written to the tools' documentation, not yet run on a card.
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
case ${{1:-}}${{2:++}} in
{cases}        ;;
    *)
        echo {wrong} >&2
        exit 2
        ;;
esac
"""
_AIPP_NOTE = """\
# FLOAT_ONNX   the same network exported to ONNX with export.preprocess=false, in this folder: the card's AIPP then
#              normalises the pixels ({aipp}), and not the network's graph; the input is the same
"""
