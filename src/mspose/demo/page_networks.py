"""Networks and detectors that the web page offers: loaded, and fetched where they are published, when first chosen."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from mspose.backends.open import check_checkpoint
from mspose.config.builder import network_of
from mspose.config.keys import keys_of
from mspose.config.recipes import find_recipe
from mspose.config.schema import Config
from mspose.config.topdown import TopDownDemo
from mspose.detection import detector_kind
from mspose.errors import PoseError, UsageError
from mspose.estimator import PoseEstimator
from mspose.extras import check_installed
from mspose.files import file_fault, user_path
from mspose.hub.cache import local, name_of, offline, place_of
from mspose.hub.table import DETECTOR, Published, meant, named, published

# Published ones that are offered beside what was given: small and large, of several kinds.
NETWORKS = ("rtmpose-t", "rtmpose-m", "rtmpose-l-384", "hrnet-w32-udp", "vitpose-b")
DETECTORS = (DETECTOR, "yolox-m")
# Detectors that need no file → what people read.
WITHOUT_FILE = {"hog": "HOG: people who stand, no file", "whole": "none: the picture is one person"}
# What helps where a detector found nobody.
HINTS = {"hog": "HOG finds only upright people seen from head to foot: choose another one that finds people"}
GIVEN = "given"  # the detector that the configuration names


class Networks:
    """What can be chosen, and the estimators of what was.

    Args:
        config: the first network, and for all of them the sections `demo` and `runtime`.

    Attributes:
        names: of the networks, the first one first.
        detectors: names of the detectors, likewise; `GIVEN` is that of `config`.

    Raises:
        UsageError, PoseError: no checkpoint, an entry of `demo.networks` is wrong, or a file of it is missing.
    """

    def __init__(self, config: Config) -> None:
        check_checkpoint(config, "to serve")
        self._config = config
        self._files: dict[str, tuple[Config | str, str]] = {_name(config.runtime.ckpt): (config, config.runtime.ckpt)}
        for entry in config.demo.networks:
            self._add(entry)
        if not config.demo.networks:
            for name in NETWORKS:
                if self._is_offered(published()[name]):
                    self._files.setdefault(name, (name, ""))
        self.names = list(self._files)
        self.detectors = [GIVEN] if isinstance(config.demo, TopDownDemo) else []
        given = self._given_detector()
        self.detectors += [name for name in DETECTORS if name != given and self._is_offered(published()[name])]
        self.detectors += [kind for kind in WITHOUT_FILE if kind != given]
        self._loaded: dict[tuple[str, str], PoseEstimator] = {}
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def _add(self, entry: str) -> None:
        """Add an entry of `demo.networks`."""
        if named(entry) is not None:
            self._files[entry] = entry, ""
            return
        recipe, colon, ckpt = entry.rpartition(":")
        if not colon:
            raise UsageError(
                f"demo.networks: {entry!r} is neither CONFIG:CKPT nor the name of a published network{meant(entry)}"
            )
        recipe, ckpt = str(find_recipe(user_path(recipe))), str(user_path(ckpt))
        fault = file_fault(ckpt)
        if fault:
            raise PoseError(f"demo.networks: {ckpt} {fault}")
        name = _name(ckpt)
        self._files[name if name not in self._files else entry] = recipe, ckpt

    def _is_offered(self, entry: Published) -> bool:
        """Whether a published file can be used here, now or once it is fetched."""
        if entry.needs_mindspore:
            try:
                check_installed("mindspore")
            except PoseError:
                return False
        return place_of(entry).exists() or not offline(self._config.runtime)

    def _given_detector(self) -> str:
        """The configured detector: a kind that needs no file, the name of a published one, or its file."""
        demo = self._config.demo
        if not isinstance(demo, TopDownDemo):
            return ""
        kind = detector_kind(self._config)
        return kind if kind in WITHOUT_FILE else name_of(demo.detector_file) or demo.boxes or demo.detector_file

    def label(self, name: str) -> str:
        """What people read of a network or detector."""
        if name == GIVEN:
            given = self._given_detector()
            return WITHOUT_FILE.get(given, Path(given).name)
        entry = published().get(name)
        if entry is None:
            return WITHOUT_FILE.get(name, name)
        ap = f", {'box ' if entry.part == 'detector' else ''}AP {entry.ap:.1f}" if entry.ap is not None else ""
        return f"{name}{ap}" + (" (not fetched yet)" if not place_of(entry).exists() else "")

    def finds_people(self, network: str) -> bool:
        """Whether a network finds people itself, so that the detector is without effect."""
        return not network_of(self._files[network][0]).method.needs_boxes

    def delay(self, network: str, detector: str) -> str:
        """What takes its time before the first picture, in words; empty: nothing does."""
        if (network, self._detector_of(network, detector)) in self._loaded:
            return ""
        names = (network, self._detector_of(network, detector))
        missing = [name for name in names if name in published() and not place_of(published()[name]).exists()]
        if missing:
            return f"Fetching {' and '.join(missing)}, which is done once and may take minutes …"
        return f"Loading {network} …"

    def get(self, network: str, detector: str) -> PoseEstimator:
        """The estimator of a network and a detector, kept once it is loaded. It gives people of all scores.

        Raises:
            PoseError: one of them is not offered, or cannot be fetched or loaded.
        """
        if network not in self._files or not (detector in self.detectors or self.finds_people(network)):
            raise PoseError(f"the page offers no network {network!r} with the detector {detector!r}: load it again")
        detector = self._detector_of(network, detector)
        with self._loading[network]:  # others wait for this network only
            if (network, "") not in self._loaded:
                self._loaded[network, ""] = self._load(network)
            if (network, detector) not in self._loaded:
                plain = self._loaded[network, ""]
                self._loaded[network, detector] = plain.with_options(replace(plain.config.demo, **self._keys(detector)))
            return self._loaded[network, detector]

    def _detector_of(self, network: str, detector: str) -> str:
        return "" if self.finds_people(network) else detector

    def _load(self, network: str) -> PoseEstimator:
        config, ckpt = self._files[network]
        # All people are wanted: the page has a threshold of its own. Its pictures do not follow each other.
        demo = replace(self._config.demo, person_threshold=0.0, track=False)
        values = {**asdict(demo), "detector": "whole", "detector_file": "", "boxes": ""}
        # The networks may be of different kinds: what one of them does not have is not for it.
        known = keys_of({"demo": network_of(config).schema["demo"]})
        runtime = self._config.runtime
        overrides: dict[str, object] = {
            **{key: value for name, value in values.items() if (key := f"demo.{name}") in known},
            "data.category": self._config.data.category,
            "runtime.device": runtime.device,
            "runtime.device_id": runtime.device_id,
            "runtime.offline": runtime.offline,
            "runtime.mirror": runtime.mirror,
        }
        return PoseEstimator(config, ckpt or None, overrides, overlap=1)

    def _keys(self, detector: str) -> dict[str, Any]:
        """Keys of `demo` that stand for a detector."""
        if detector in WITHOUT_FILE:
            return {"detector": detector}
        if detector == GIVEN:
            demo = self._config.demo
            return {name: getattr(demo, name) for name in ("detector", "detector_file", "boxes") if hasattr(demo, name)}
        return {"detector": "auto", "detector_file": local(detector, self._config.runtime)}


def with_demo(estimator: PoseEstimator, **options: Any) -> PoseEstimator:
    """An estimator with other options of `demo`, those that its network has."""
    known = {field.name for field in fields(estimator.config.demo)}
    demo = replace(estimator.config.demo, **{name: value for name, value in options.items() if name in known})
    return estimator.with_options(demo)


def _name(ckpt: str) -> str:
    """What a network is called: as it is published, or its file with the last folder, which is often what tells
    best.ckpt from best.ckpt."""
    return name_of(ckpt) or "/".join(Path(ckpt).absolute().parts[-2:])
