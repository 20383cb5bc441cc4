"""Settings of ``evaluation``, and of an evaluation in the library."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from evenface.errors import UserError, check_names, unknown_name
from evenface.fields import HAIR_ATTRIBUTES, Names, Share, Text, Weight
from evenface.parts import FilePath, Settings, mistakes
from evenface.targets import SEPARATOR, class_names
from evenface.taxonomy import CIRCULAR, DIMENSIONS, LABEL_CODINGS, UNKNOWN, parse_grouping

#: MAAD-Face attributes that name a demographic level, besides CelebA's Male and Young.
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

DEFAULT_SUMMARY = [
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
]

# A demographic parity statement alone misleads when base rates differ, so these are added to it.
PARITY_COMPANIONS = ("base_rate_difference", "prevalence_bias_difference")

#: Keys of the same section about making predictions and plans; an evaluation does not need them.
PREDICTION_KEYS = ("dataset", "crop", "max_unreadable", "planning")

#: Every score reaches 0.
Threshold = Annotated[float, Field(gt=0, le=1)]

GROUPINGS = "Dimensions, and products such as gender*ethnicity."

#: Outcomes by which validation counts of annotators may be given: all of one of these.
OUTCOME_KINDS = (("correct", "wrong"), ("TN", "FP", "FN", "TP"))

#: Validation counts of an annotator: a row per true level, a column per assigned level.
Matrix = tuple[tuple[Weight, ...], ...]


class StatisticsSettings(Settings):
    """What an evaluation may vary, in a configuration and in the library."""

    attributes: tuple[str, ...] = Field((), description="Attributes to evaluate; none for all.")
    groupings: tuple[str, ...] = Field(DEFAULT_GROUPINGS, description=GROUPINGS)
    min_denominator: int = Field(
        30, ge=1, description="Fewest images of a rate; a rate over fewer is written but not used in gaps."
    )
    min_identities: int = Field(10, ge=1, description="Fewest effective identities of a rate (n_eff), likewise.")
    alpha: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Weight of false positives in criteria that weigh both errors. One error alone has criteria of its own, "
        "such as `fpr_difference`.",
    )
    include_unknown: bool = Field(False, description="Whether gaps include the level unknown.")
    allow_missing_images: bool = Field(
        False,
        description="Whether images that not all models scored are left out of all of them; otherwise they are an error.",
    )
    summary: Annotated[tuple[str, ...], Field(min_length=1, json_schema_extra={"uniqueItems": True})] = Field(
        DEFAULT_SUMMARY, description="Criteria of results/fairness.csv."
    )
    circular: dict[str, Text] = Field(
        DEMOGRAPHIC_ATTRIBUTES,
        description="Attributes that say the same as a dimension, with that dimension; they are not evaluated within it.",
    )
    n_boot: int = Field(
        1000, ge=0, description="Bootstrap replicates of the identities for intervals; 0 leaves intervals out."
    )
    n_perm: int = Field(1000, ge=0, description="Permutations of identities for p values; 0 leaves them out.")
    ci_level: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    weights: Literal["multinomial", "poisson"] = Field("multinomial", description="How identities are drawn.")
    calibration_bins: int = Field(
        10,
        ge=2,
        le=100,
        description="Bins of the expected calibration error, with equally many images of the test set.",
    )
    curve_thresholds: int = Field(
        19, ge=1, le=99, description="Thresholds of results/fairness/threshold_curves.csv; 19 are 0.05, 0.1 to 0.95."
    )
    practical_threshold: Share = Field(0.05, description="Difference that matters in practice; verdicts refer to it.")
    practical_ratio_threshold: Share = Field(
        0.2, description="Likewise for ratios, as their distance from 1; 0.2 is the four-fifths rule."
    )
    power: float = Field(
        0.8, ge=0.5, lt=1, description="Chance that a gap is seen, to which planning and the column `resolvable` refer."
    )
    perm_within: tuple[str, ...] = Field(
        (), description="Dimensions within whose levels identities change places in tests."
    )
    confusion: dict[str, Matrix | dict[Literal[sum(OUTCOME_KINDS, ())], Matrix] | FilePath] = Field(
        {},
        description="For each dimension, the validation counts of its annotator. It adds rates and gaps corrected for the "
        "annotator's errors. Either a matrix with a row per true level and a column per assigned level, in declared order; or "
        "such matrices by the classifier's outcome, correct and wrong or TN, FP, FN and TP; or a CSV file with the columns "
        "true and assigned, and optionally n, outcome, attribute and identity_id.",
    )
    block_size: int = Field(
        24, ge=1, description="Most attributes resampled together. It changes memory use, and no result."
    )


class PlanningSettings(Settings):
    """What `results/power.csv` assumes, and is asked; nothing else depends on it."""

    rate: float = Field(0.8, gt=0, lt=1, description="Assumed share of right answers, in the best group.")
    person_sd: float = Field(
        1.5, ge=0, le=10, description="How much people differ: standard deviation of their rates on the logit scale."
    )
    gap: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Gap to be seen; null: the practical threshold. The table has the people it needs.",
    )
    change: float = Field(
        0.02, gt=0, le=1, description="Change of a method's gap to be seen. The table has the seeds it needs."
    )
    training_sd: float = Field(
        0.02, ge=0, le=1, description="Assumed standard deviation of the change of a gap between training seeds."
    )
    run_correlation: float = Field(
        0.5, ge=0, lt=1, description="Assumed correlation of two runs' rates over the choice of people."
    )


class EvaluationSettings(StatisticsSettings):
    """Where and how fairness is measured."""

    dataset: str = Field(description="The test set.")
    baseline: str = Field(description="The run that changes are measured against.")
    attributes: Annotated[Names[Text], Field(min_length=1)] = Field(
        HAIR_ATTRIBUTES, description="Attributes and categorical targets that are evaluated."
    )
    groupings: Annotated[Names[str], Field(min_length=1)] = Field(list(DIMENSIONS), description=GROUPINGS)
    perm_within: Names[Text] = Field(
        [], description="Dimensions within whose levels identities change places in tests."
    )
    crop: float | None = Field(
        None, gt=0, le=1, description="Central share of loose crops that is kept before resizing; null keeps all."
    )
    max_unreadable: Share = Field(
        0.01, description="Share of the test images, and of those of every group, that may be unreadable."
    )
    planning: PlanningSettings = Field({}, description="Assumptions of results/power.csv.")


class FairnessSettings(StatisticsSettings):
    """Settings of one evaluation: those of the configuration's section ``evaluation``, and further ones of the library.

    levels               dimension -> levels in report order; the level ``unknown`` is implied
    attributes           names to evaluate; empty means every attribute that is scored and labelled
    thresholds           one number in (0, 1], or attribute -> number; ``pred = score >= threshold``
    label_coding         how label tables write labels, a name of ``taxonomy.LABEL_CODINGS``
    derived_labels       attribute -> label column to use instead; a leading ``-`` flips its sign
    classes              categorical target -> its classes: of the attributes ``<target>=<class>``, the one with the highest
                         score is decided, whatever the thresholds (:mod:`evenface.targets`)
    baseline             run that other runs are compared with, or None
    seed                 root of the draws

    Raises UserError naming the key and what is wrong with it.
    """

    circular: dict[str, str] = DEMOGRAPHIC_ATTRIBUTES
    levels: dict[str, tuple[str, ...]] = dict(DIMENSIONS)
    thresholds: Threshold | dict[str, Threshold] = 0.5
    label_coding: Literal[tuple(LABEL_CODINGS)] = "minus_one_one"
    derived_labels: dict[str, str] = {}
    classes: dict[str, tuple[str, ...]] = {}
    baseline: str | None = None
    seed: int = Field(0, ge=0)

    def __init__(self, **given: Any):
        for name in ("groupings", "attributes", "summary", "perm_within"):
            if isinstance(given.get(name), str):
                raise UserError(f"evaluation.{name}: expected a list, found the text {given[name]!r}")
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise UserError(mistakes("evaluation", error, type(self))[0]) from None

    def threshold_of(self, criterion: str) -> float:
        """The distance from equal treatment that matters in practice."""
        from evenface.fairness.criteria import is_ratio  # a configuration is read without NumPy

        return self.practical_ratio_threshold if is_ratio(criterion) else self.practical_threshold

    def model_post_init(self, _: Any) -> None:
        """Check several fields together, and add the companions of demographic parity."""
        self._check_levels()
        self._check_groupings()
        check_confusion(self.confusion, self.dimensions, self.levels)
        check_names("evaluation.perm_within", self.perm_within, self.dimensions)
        if any(name.startswith("demographic_parity") for name in self.summary):
            missing = (name for name in PARITY_COMPANIONS if name not in self.summary)
            object.__setattr__(self, "summary", (*self.summary, *missing))

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | None) -> FairnessSettings:
        """Settings from the ``evaluation`` section of a configuration; an unknown key is an error."""
        return cls(**{key: value for key, value in (config or {}).items() if key not in PREDICTION_KEYS})

    def changed(self, **changes: Any) -> FairnessSettings:
        """A checked copy with other values."""
        return FairnessSettings(**{**dict(self), **changes})

    def rivals(self, attribute: str) -> list[str]:
        """The attributes of the same categorical target, itself among them; none for a binary attribute."""
        target, _, one = attribute.partition(SEPARATOR)
        return class_names(target, self.classes[target]) if one in self.classes.get(target, ()) else []

    def threshold(self, attribute: str) -> float:
        if isinstance(self.thresholds, Mapping):
            if attribute not in self.thresholds:
                raise UserError(
                    f"the thresholds have no entry for {attribute}; add one to FairnessSettings.thresholds, or to the "
                    "thresholds in the header of the predictions"
                )
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
                    f"FairnessSettings.levels: {dimension} must list distinct levels without {UNKNOWN!r}, found {list(levels)}"
                )
            if any("|" in level for level in levels):
                raise UserError(f"FairnessSettings.levels: {dimension} uses '|', which joins the levels of a group")

    def _check_groupings(self):
        if not self.groupings:
            raise UserError("evaluation.groupings is empty; name at least one, for example gender")
        for grouping in self.groupings:
            parse_grouping(grouping, "evaluation.groupings", self.levels)
        if len(set(self.groupings)) != len(self.groupings):
            raise UserError("evaluation.groupings lists a grouping twice")


def check_confusion(
    confusion: Mapping[str, Any], dimensions: Collection[str], levels: Mapping[str, Sequence[str]]
) -> None:
    """Raise UserError for the first dimension in no grouping, unknown outcome, or matrix that does not fit the levels.

    dimensions  those that some grouping uses
    """
    for dimension, given in confusion.items():
        where = f"evaluation.confusion.{dimension}"
        if dimension not in dimensions:
            raise UserError(
                f"{unknown_name('evaluation.confusion', dimension, dimensions)}; add a grouping with it to evaluation.groupings, "
                "or leave it out"
            )
        if isinstance(given, str):
            continue
        if isinstance(given, Mapping):
            kind = next((kind for kind in OUTCOME_KINDS if set(kind) & set(given)), OUTCOME_KINDS[0])
            if set(given) != set(kind):
                raise UserError(
                    f"{where} has matrices of {', '.join(given) or 'no outcome'}; give one for each of {', '.join(kind)}"
                )
        matrices = given.items() if isinstance(given, Mapping) else [("", given)]
        for outcome, rows in matrices:
            _check_matrix(f"{where}.{outcome}".rstrip("."), rows, levels[dimension])


def _check_matrix(where: str, rows: Matrix, levels: Sequence[str]) -> None:
    n = len(levels)
    if len(rows) != n or any(len(row) != n for row in rows):
        raise UserError(f"{where} must have {n} rows and columns, one per level {', '.join(levels)}")
    for k, row in enumerate(rows):
        if sum(row) <= 0:
            raise UserError(f"{where}, row {k + 1}: all counts are 0, found {list(row)}")
