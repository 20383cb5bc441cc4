"""Screening: detectors, MagFace's network and threshold, quality tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenface.faces.dlib_files import LANDMARKS
from evenface.parts import Detector, Generator, part, version
from evenface.plan import paths
from evenface.resources import Asks
from evenface.screening.settings import is_calibrated, locating_recipe

if TYPE_CHECKING:
    from evenface.recipes.flow import Flow

#: The network that the workflow trains, and the threshold that it calibrates.
NETWORK = "results/screening/magface/model.safetensors"
CALIBRATION = "results/screening/magface/threshold.json"


class Screening:
    """Recipes and inputs of screening and of quality."""

    def __init__(self, flow: Flow):
        self._flow = flow
        self._screening = flow.settings["screening"]
        self.magface = self._screening["magface"]
        # No detector declares nothing.
        self.asks = Asks(lambda _: [one.needs_of(self._screening) for one in [self._detector()] if one])
        # Published networks compute batches in parallel; the small network finishes before a second thread has started.
        self.magface_threads = 1 if self.magface["weights"] == "trained_here" else 2

    def detector_files(self, wildcards: Any) -> dict[str, str]:
        """The detector's files, and those of the landmarks under the name that the configuration chose."""
        detector = self._detector()
        if detector is None:
            return {}
        files = detector.files(self._screening)
        chosen = self._screening["landmarks"]
        return {chosen: LANDMARKS[chosen]} | {key: path for key, path in files.items() if key != "landmarks"}

    def _detector(self) -> Detector | None:
        name = self._screening["detector"]
        return None if name == "none" else part(Detector, name, "screening.detector")

    def _detector_version(self) -> dict[str, int]:
        detector = self._detector()
        return {"detector_version": detector.version} if detector else {}

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides the screening of a shard."""
        settings = {key: value for key, value in self._screening.items() if key != "magface"}
        return {"version": version("screening", "screening"), **self._detector_version(), "settings": settings}

    def landmark_parts(self, wildcards: Any) -> list[str]:
        """The parts of a data set's landmarks."""
        return [f"data/faces/{wildcards.dataset}.landmarks/{part}.parquet" for part in range(self.magface["parts"])]

    def landmarks_recipe(self, wildcards: Any) -> dict[str, Any]:
        """Everything that decides one part of a data set's landmarks."""
        recipe = locating_recipe(self._screening, version("screening", "screening"), wildcards.dataset)
        return {**recipe, **self._detector_version(), "part": int(wildcards.part)}

    def weights(self, wildcards: Any) -> dict[str, str]:
        """The files of the MagFace network that judges quality; for our own network also its manifest."""
        if self.magface["weights"] == "trained_here":
            return {"weights": NETWORK, "manifest": "results/screening/magface/model.json"}
        return {"weights": self.magface["weights"] or "models/magface/magface_epoch_00025.pth"}

    def magface_files(self, wildcards: Any) -> dict[str, str]:
        """The files of the MagFace network, and its threshold if that is calibrated."""
        calibrated = {"calibration": CALIBRATION} if is_calibrated(self.magface) else {}
        return self.weights(wildcards) | calibrated

    def training_recipe(self) -> dict[str, Any]:
        """Everything that decides the MagFace network trained here."""
        return {
            "version": version("training", "recognition"),
            "seed": self._flow.settings["seed"],
            "settings": self.magface["trained_here"],
            "max_unreadable": self.magface["max_unreadable"],
        }

    def quality_recipe(self, *keys: str) -> dict[str, Any]:
        """Everything that decides magnitudes, and further settings named by ``keys``."""
        known = ("backbone", "weights", "batch_size", "precision", *keys)
        return {
            "version": version("screening", "quality"),
            "settings": {key: self.magface[key] for key in known},
        }

    def study_recipe(self) -> dict[str, Any]:
        """Everything that decides the study of how the magnitude falls with known degradations."""
        return {
            **self.quality_recipe("threshold", "study_per_cell"),
            "study": version("audit", "quality_study"),
            "seed": self._flow.settings["seed"],
            "renderer": part(Generator, "parametric", "audit").version,
        }

    def acceptance_recipe(self) -> dict[str, Any]:
        """Everything that decides the tables of acceptance by group."""
        return {"version": version("screening", "acceptance"), "seed": self._flow.settings["seed"]}

    def study(self, table: str) -> list[str]:
        """The study's ``table``, quality or quality_verdict, if MagFace judges generated faces."""
        return [f"results/audit/{table}.csv"] if self.magface["weights"] and self._flow.generators else []

    def quality_tables(self, wildcards: Any) -> list[str]:
        """MagFace's verdicts on the generated faces, if it judges."""
        if not self.magface["weights"]:
            return []
        name = wildcards.generator
        return [paths.quality_file(name, batch) for batch in self._flow.batches[name]]
