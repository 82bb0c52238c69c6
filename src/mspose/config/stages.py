"""`data.stages`: keys of the section `data` that change in the course of training.

A stage is a mapping: `epoch`, after how many epochs it begins, and values of keys that hold from then on, until a later
stage changes them again. Keys that may stand there are marked `staged` in their section.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf

from mspose.config.keys import Section
from mspose.config.text import Text, parse_value
from mspose.config.values import KeyProblem, store, stored

KEY = "data.stages"


def typed_stages(kind: type[Section], value: Any, source: str) -> Any:
    """Stages whose values are typed and checked as those of the section `data` itself are.

    Args:
        kind: dataclass of the section.
        value: as it was given; what is no list of mappings comes back as it is.

    Raises:
        KeyProblem: a stage has no epoch or a key that may not change, or a value is wrong; the stage and the key are
            named.
    """
    if isinstance(value, Text):
        value = parse_value(value)
    if not isinstance(value, list) or not all(isinstance(stage, Mapping) for stage in value):
        return value
    stages: list[dict[str, Any]] = []
    for number, given in enumerate(value):
        stage = _typed(kind, given, f"{KEY}[{number}]", source)
        if stages and stage["epoch"] <= stages[-1]["epoch"]:
            raise KeyProblem(
                f"{KEY}[{number}].epoch", f"must be later than {stages[-1]['epoch']}, {KEY}[{number - 1}].epoch", source
            )
        stages.append(stage)
    return stages


def _typed(kind: type[Section], given: Mapping[str, Any], name: str, source: str) -> dict[str, Any]:
    """One stage, `epoch` first."""
    epoch = given.get("epoch")
    if type(epoch) is not int or epoch < 1:
        said = "" if epoch is None else f", not {epoch!r}"
        raise KeyProblem(
            f"{name}.epoch", f"must be a whole number from 1 on: after how many epochs the stage begins{said}", source
        )
    known = {f.name: f for f in fields(kind) if f.metadata["staged"]}  # type: ignore[arg-type]
    section, stage = OmegaConf.structured(kind), {"epoch": epoch}
    for key, value in given.items():
        if key == "epoch":
            continue
        label = f"{name}.{key}"
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
            hint = f"did you mean {close[0]!r}?" if close else f"these may: {', '.join(known)}"
            raise KeyProblem(label, f"is no key that may change in the course of training; {hint}", source)
        store(section, known[key], label, value, source)
        stage[key] = stored(section, key)
        check = known[key].metadata["check"]
        if check is not None and not check.holds(stage[key]):
            raise KeyProblem(label, f"must {check.words}, not {value!r}", source)
    if len(stage) == 1:
        raise KeyProblem(name, f"changes nothing: name keys beside epoch, of {', '.join(known)}", source)
    return stage
