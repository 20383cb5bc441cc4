"""What an evaluation is allowed to vary, with the defaults of the shipped configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from evenface.errors import UserError
from evenface.taxonomy import CIRCULAR, DIMENSIONS, UNKNOWN

#: MAAD-Face names that spell out a demographic level, beside CelebA's Male and Young.
DEMOGRAPHIC_ATTRIBUTES = {
    **CIRCULAR,
    "Middle_Aged": "age",
    "Senior": "age",
    "Asian": "ethnicity",
    "Black": "ethnicity",
    "White": "ethnicity",
}

DEFAULT_GROUPINGS = (
    "gender",
    "age",
    "ethnicity",
    "gender*age",
    "gender*ethnicity",
    "age*ethnicity",
    "gender*age*ethnicity",
)

DEFAULT_SUMMARY = (
    "accuracy_gap",
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "base_rate_difference",
    "prevalence_bias_difference",
    "equal_opportunity_difference",
    "equal_opportunity_ratio",
    "equalized_odds_difference_worst",
    "equalized_odds_difference_mean",
    "fairness_discrepancy_rate",
)

# A demographic parity statement alone misleads when base rates differ, so these travel with it.
PARITY_COMPANIONS = ("base_rate_difference", "prevalence_bias_difference")

#: Keys of the same section that say how predictions are made, which is over when they are evaluated.
PREDICTION_KEYS = ("dataset", "crop", "max_unreadable")

WEIGHTS = ("multinomial", "poisson")
LABEL_CODINGS = ("signed", "zero_one")


@dataclass(frozen=True)
class FairnessSettings:
    """Settings of one evaluation.

    groupings            dimensions and products of them, e.g. ``"gender*ethnicity"``
    levels               dimension -> levels in report order; the level ``unknown`` is implied
    attributes           names to evaluate; empty means every attribute that is scored and labelled
    thresholds           one number, or attribute -> number; ``pred = score >= threshold``
    min_denominator      a rate over fewer images is written but takes no part in gaps
    min_identities       likewise for fewer persons with a non-zero denominator
    alpha                weight of false positives in the weighted criteria, in [0, 1]
    include_unknown      let the level ``unknown`` take part in gaps
    allow_missing_images keep the images that all tables share instead of failing
    label_coding         ``signed`` {+1, -1, 0 undefined} or ``zero_one`` {1, 0 negative}
    derived_labels       attribute -> label column to use instead; a leading ``-`` flips its sign
    circular             attribute -> dimension it spells out; such rows get status ``circular``
    summary              criteria that go to results/fairness.csv
    baseline             run that other runs are compared with, or None
    n_boot               bootstrap replicates of the identities; 0 leaves out intervals
    n_perm               permutations and swaps behind p values; 0 leaves them out
    ci_level             level of all intervals
    seed                 root of the draws
    weights              ``multinomial`` or ``poisson`` bootstrap weights
    practical_threshold  distance from equal treatment that matters in practice
    perm_within          dimensions within whose levels identities change places
    confusion            dimension -> validation counts, rows true and columns assigned levels in declared
                         order; adds group rates corrected for errors of the assignment
    block_size           most attributes that are resampled together; changes memory and no result
    """

    groupings: tuple[str, ...] = DEFAULT_GROUPINGS
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(DIMENSIONS))
    attributes: tuple[str, ...] = ()
    thresholds: float | Mapping[str, float] = 0.5
    min_denominator: int = 30
    min_identities: int = 10
    alpha: float = 0.5
    include_unknown: bool = False
    allow_missing_images: bool = False
    label_coding: str = "signed"
    derived_labels: Mapping[str, str] = field(default_factory=dict)
    circular: Mapping[str, str] = field(default_factory=lambda: dict(DEMOGRAPHIC_ATTRIBUTES))
    summary: tuple[str, ...] = DEFAULT_SUMMARY
    baseline: str | None = None
    n_boot: int = 1000
    n_perm: int = 1000
    ci_level: float = 0.95
    seed: int = 0
    weights: str = "multinomial"
    practical_threshold: float = 0.05
    perm_within: tuple[str, ...] = ()
    confusion: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    block_size: int = 24

    def __post_init__(self):
        for name in ("groupings", "attributes", "summary", "perm_within"):
            values = getattr(self, name)
            if isinstance(values, str):
                raise UserError(f"evaluation.{name}: expected a list, found the text {values!r}")
            object.__setattr__(self, name, tuple(values))
        object.__setattr__(self, "levels", {k: tuple(v) for k, v in self.levels.items()})
        self._check_levels()
        self._check_groupings()
        self._check_numbers()
        self._check_confusion()
        if self.weights not in WEIGHTS:
            raise UserError(f"evaluation.weights is {self.weights!r}; allowed are {', '.join(WEIGHTS)}")
        for dimension in self.perm_within:
            if dimension not in self.dimensions:
                raise UserError(
                    f"evaluation.perm_within: {dimension!r} is in no grouping; used are {', '.join(self.dimensions)}"
                )
        if self.label_coding not in LABEL_CODINGS:
            raise UserError(f"evaluation.label_coding is {self.label_coding!r}; allowed are {', '.join(LABEL_CODINGS)}")
        summary = list(self.summary)
        if any(name.startswith("demographic_parity") for name in summary):
            summary += [name for name in PARITY_COMPANIONS if name not in summary]
        object.__setattr__(self, "summary", tuple(summary))

    @classmethod
    def from_config(cls, config: Mapping | None) -> FairnessSettings:
        """Settings from the ``evaluation`` section of a configuration; an unknown key is an error."""
        config = {key: value for key, value in (config or {}).items() if key not in PREDICTION_KEYS}
        allowed = [f.name for f in dataclasses.fields(cls)]
        unknown = [key for key in config if key not in allowed]
        if unknown:
            raise UserError(f"evaluation.{unknown[0]} is not a known key; allowed are {', '.join(allowed)}")
        return cls(**config)

    def threshold(self, attribute: str) -> float:
        if isinstance(self.thresholds, Mapping):
            if attribute not in self.thresholds:
                raise UserError(f"evaluation.thresholds has no entry for {attribute}; add one")
            return float(self.thresholds[attribute])
        return float(self.thresholds)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions that some grouping uses, in declared order."""
        used = {name for grouping in self.groupings for name in grouping.split("*")}
        return tuple(name for name in self.levels if name in used)

    def _check_levels(self):
        for dimension, levels in self.levels.items():
            if UNKNOWN in levels or len(set(levels)) != len(levels) or not levels:
                raise UserError(
                    f"evaluation.levels.{dimension} must list distinct levels without {UNKNOWN!r}, found {list(levels)}"
                )
            if any("|" in level for level in levels):
                raise UserError(f"evaluation.levels.{dimension}: '|' is reserved for products of levels")

    def _check_groupings(self):
        if not self.groupings:
            raise UserError("evaluation.groupings is empty; name at least one, for example gender")
        for grouping in self.groupings:
            parts = grouping.split("*")
            wrong = [part for part in parts if part not in self.levels]
            if wrong:
                raise UserError(
                    f"evaluation.groupings: {grouping!r} uses {wrong[0]!r}, which is not a dimension; "
                    f"allowed are {', '.join(self.levels)} and their products, e.g. gender*ethnicity"
                )
            if len(set(parts)) != len(parts):
                raise UserError(f"evaluation.groupings: {grouping!r} names a dimension twice")
        if len(set(self.groupings)) != len(self.groupings):
            raise UserError("evaluation.groupings lists a grouping twice")

    def _check_numbers(self):
        least = dict(min_denominator=1, min_identities=1, n_boot=0, n_perm=0, seed=0, block_size=1)
        for key, lowest in least.items():
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
                raise UserError(f"evaluation.{key} must be a whole number of at least {lowest}, found {value!r}")
        if not isinstance(self.ci_level, float) or not 0 < self.ci_level < 1:
            raise UserError(f"evaluation.ci_level must be a number between 0 and 1, found {self.ci_level!r}")
        values = {"alpha": self.alpha, "practical_threshold": self.practical_threshold}
        if isinstance(self.thresholds, Mapping):
            values |= {f"thresholds.{name}": value for name, value in self.thresholds.items()}
        else:
            values["thresholds"] = self.thresholds
        for key, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise UserError(f"evaluation.{key} must be a number in [0, 1], found {value!r}")

    def _check_confusion(self):
        object.__setattr__(self, "confusion", {k: tuple(map(tuple, rows)) for k, rows in self.confusion.items()})
        for dimension, rows in self.confusion.items():
            if dimension not in self.levels:
                raise UserError(f"evaluation.confusion: {dimension!r} is not a dimension")
            if dimension not in self.groupings:
                raise UserError(f"evaluation.confusion.{dimension}: {dimension} is not among evaluation.groupings")
            n = len(self.levels[dimension])
            if len(rows) != n or any(len(row) != n for row in rows):
                raise UserError(
                    f"evaluation.confusion.{dimension} must have {n} rows and columns, one per level "
                    f"{', '.join(self.levels[dimension])}"
                )
            for k, row in enumerate(rows):
                wrong = [v for v in row if isinstance(v, bool) or not isinstance(v, (int, float)) or not v >= 0]
                if wrong or sum(row) <= 0:
                    raise UserError(
                        f"evaluation.confusion.{dimension}, row {k + 1}: counts must be non-negative and not all 0, "
                        f"found {list(row)}"
                    )
