"""Power before pixels: the table ``power``, what a test set can see, from its people and labels alone."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from evenface.errors import UserError, check_names
from evenface.fairness import power
from evenface.fairness.evaluated import CIRCULAR, NO_DENOMINATOR, Evaluated, evaluate_grouping, spread
from evenface.fairness.gaps import TOO_FEW
from evenface.fairness.inputs import read_predictions, read_test_set
from evenface.fairness.metrics import denominators, divide, form
from evenface.fairness.multiplicity import FALSE_DISCOVERY_RATE, resolved
from evenface.fairness.settings import FairnessSettings, PlanningSettings
from evenface.parts import mistakes
from evenface.storage.csv import write_csv
from evenface.storage.tables import is_parquet, read_table, table_columns, table_meta
from evenface.targets import SEPARATOR, has, labels_of
from evenface.taxonomy import DIMENSIONS, parse_grouping

log = logging.getLogger("evenface")

#: The gaps that are planned, with the metric whose rates differ.
PLANNED = {
    "equal_opportunity_difference": "tpr",
    "fpr_difference": "fpr",
    "accuracy_gap": "accuracy",
    "demographic_parity_difference": "selection_rate",
}

POWER_COLUMNS = [
    "dataset", "split", "attribute", "grouping", "criterion", "n_groups", "groups_excluded", "hardest_groups", "people",
    "n_eff", "images", "base_rate", "rate", "person_sd", "intraclass", "level", "power", "detectable_gap", "gap",
    "resolvable", "people_needed", "change", "variance_people", "variance_training", "seeds_needed", "least_seeds", "n_seeds",
    "times_as_many_people", "status",
]  # fmt: skip


@dataclass(frozen=True)
class Assumptions:
    """What is not known before a training.

    planning   assumed rates and spreads; ``gap`` and ``change`` that are asked for
    power      chance that a gap or change is seen
    level      of all tests of a family together; tests, their number (None: one for each attribute of the table)
    n_seeds    seeds per run
    learned    (attribute, metric) -> (rate, person_sd) of an earlier run; the attribute "" for those it does not have
    variances  (attribute, grouping, criterion) -> (people, training) variance of an earlier run's change
    """

    planning: PlanningSettings
    power: float = 0.8
    level: float = FALSE_DISCOVERY_RATE
    tests: int | None = None
    n_seeds: int = 2
    learned: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    variances: Mapping[tuple[str, str, str], tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def from_config(cls, planning: Mapping[str, Any], settings: FairnessSettings, n_seeds: int) -> Assumptions:
        """Those of ``evaluation.planning``; a claim about a method takes at least two seeds."""
        given = PlanningSettings(**planning)
        gap = settings.practical_threshold if given.gap is None else given.gap
        return cls(given.model_copy(update={"gap": gap}), power=settings.power, n_seeds=max(2, n_seeds))

    def with_options(self, planning: Mapping[str, Any], **given: Any) -> Assumptions:
        """Changed where an option of the command line is given. UserError for values that have no meaning."""
        options = {name: value for name, value in planning.items() if value is not None}
        try:
            own = PlanningSettings(**{**self.planning.model_dump(), **options})
        except ValidationError as error:
            name, _, rest = mistakes("", error, PlanningSettings)[0].lstrip(".").partition(" is ")
            raise UserError(f"--{name.replace('_', '-')} is {rest}") from None
        changed = replace(self, planning=own, **{name: value for name, value in given.items() if value is not None})
        for option, value, good, words in (
            ("--power", changed.power, 0.5 <= changed.power < 1, "a chance of at least 0.5 and less than 1, such as 0.8"),
            ("--alpha", changed.level, 0 < changed.level < 0.5, "a level between 0 and 0.5, such as 0.05"),
            ("--tests", changed.tests, changed.tests is None or changed.tests >= 1, "at least 1 test"),
            ("--seeds", changed.n_seeds, changed.n_seeds >= 2,
             "at least 2: one network says nothing about the method that trained it"),
        ):  # fmt: skip
            if not good:
                raise UserError(f"{option} is {value:g}; give {words}")
        return changed


@dataclass(frozen=True)
class Design:
    """The people of one grouping who count for one gap; arrays are (attributes, groups).

    people, n_eff, images  people with images that count, effective people, and these images
    used                   groups with enough of both
    base_rate, circular    (attributes,)
    """

    grouping: str
    criterion: str
    attributes: tuple[str, ...]
    groups: tuple[str, ...]
    people: np.ndarray
    n_eff: np.ndarray
    images: np.ndarray
    used: np.ndarray
    base_rate: np.ndarray
    circular: np.ndarray

    @classmethod
    def of(cls, result: Evaluated, criterion: str) -> Design:
        """From the labels of a test set, evaluated as if they had been predicted."""
        metric = PLANNED[criterion]
        (denominator,) = denominators(metric)
        base = result.rates.pooled["base_rate"]
        support = result.support[metric]
        images = result.counts[:, : result.n_groups] @ form(denominator)
        return cls(
            result.grouping.name, criterion, result.attributes, tuple(result.groups), support.n_identities, support.n_eff,
            images, support.used, base, result.circular,
        )  # fmt: skip


def write_power(
    faces: str | os.PathLike, settings: FairnessSettings, assumptions: Assumptions, out: str | os.PathLike
) -> pd.DataFrame:
    """Write the table of a test set's faces table (Parquet); see :func:`plan`."""
    table = plan(designs_of_faces(faces, settings), assumptions, table_meta(faces).get("dataset") or Path(faces).stem)
    for sentence in warnings(table, settings.n_perm):
        log.warning("%s", sentence)
    write_csv(table, out)
    return table


def designs_of_faces(faces: str | os.PathLike, settings: FairnessSettings, split: str = "test") -> list[Design]:
    """The designs of a faces table's split. UserError naming the file and what to do, if it cannot be used."""
    known = ("image_id", "identity_id", "split", *settings.dimensions)
    columns = table_columns(faces)
    derived = [name for name in settings.attributes if name not in columns and has(columns, name)]
    check_names(f"{faces}: the attributes", settings.attributes, [*columns, *derived])
    needed = (*known, *settings.attributes, *(name.partition(SEPARATOR)[0] for name in derived))
    frame = read_table(faces, columns=[c for c in columns if c in needed], required=known)
    frame = frame.assign(**{name: labels_of(frame, name) for name in derived})
    frame = frame[frame["split"] == split].reset_index(drop=True)
    if not len(frame):
        raise UserError(f"{faces}: no image of the split {split!r}; name another data set in evaluation.dataset")
    return designs(frame, settings, str(faces), stored=True)


def designs(frame: pd.DataFrame, settings: FairnessSettings, name: str, *, stored: bool = False) -> list[Design]:
    """The designs of a table with ``image_id``, ``identity_id``, a column per dimension, and one per attribute."""
    frame.attrs["path"] = name
    test = read_test_set(
        frame.drop(columns=[c for c in settings.dimensions if c not in settings.attributes]),
        frame[["image_id", *settings.dimensions]], settings, set(settings.attributes), stored=stored,
    )  # fmt: skip
    right = {f"pred_{a}": (test.labels[a] > 0).astype(np.int8) for a in settings.attributes}
    predicted = pd.DataFrame({"image_id": frame["image_id"], **right})
    if "identity_id" in frame:
        predicted["identity_id"] = frame["identity_id"]
    scored = read_predictions(predicted, test, settings)
    return [
        Design.of(evaluate_grouping(scored, test.space.grouping(grouping), settings), criterion)
        for grouping in settings.groupings
        for criterion in PLANNED
    ]


def designs_of_numbers(people: Sequence[int], images: Sequence[float], images_cv: float = 0.0) -> list[Design]:
    """One design: ``people`` in each group with ``images`` each, whose coefficient of variation is ``images_cv``."""
    if len(people) < 2:
        raise UserError(
            "--people: a gap needs at least two groups; give the people of every group, e.g. --people 200 200"
        )
    if min(people) < 2:
        raise UserError(
            f"--people: a group has {min(people)} person; how much people differ cannot be told from fewer than two, so give "
            "every group at least 2"
        )
    if len(images) not in (1, len(people)):
        raise UserError(f"--images: {len(images)} numbers for {len(people)} groups; give one, or one for every group")
    if min(images) < 1:
        raise UserError(f"--images: {min(images):g} images per person; give at least 1")
    if not 0 <= images_cv < np.inf:
        raise UserError(f"--images-cv is {images_cv:g}; give a standard deviation over a mean, at least 0")
    n = np.array([people], dtype=float)
    return [
        Design(
            "groups", "accuracy_gap", ("rate",), tuple(f"group {k + 1}" for k in range(len(people))), n.astype(int),
            np.maximum(n / (1 + images_cv**2), 1.0), n * np.array(images, dtype=float), n > 0, np.array([np.nan]),
            np.array([False]),
        )
    ]  # fmt: skip


def plan(found: Sequence[Design], assumptions: Assumptions, dataset: str = "", split: str = "test") -> pd.DataFrame:
    """A row per grouping, attribute and gap; columns :data:`POWER_COLUMNS`.

    detectable_gap        smallest difference between any two groups that is seen
    people_needed         people per group, if all groups have as many, to see ``gap``
    seeds_needed          least number of seeds per run that show ``change``; NaN if no number does
    least_seeds           the same with as many people as one likes
    times_as_many_people  how many times as many people show it with ``n_seeds`` seeds; NaN if no number does
    """
    rows = pd.concat([_planned(one, assumptions) for one in found], ignore_index=True)
    return rows.assign(dataset=dataset, split=split)[POWER_COLUMNS]


def _planned(design: Design, assumptions: Assumptions) -> pd.DataFrame:
    """The rows of one design."""
    planning, metric, n = assumptions.planning, PLANNED[design.criterion], len(design.attributes)
    rate, person_sd = _rates(design, assumptions, metric)
    tests = assumptions.tests or max(int((~design.circular).sum()), 1)
    level = assumptions.level / tests
    used, k = design.used & (design.n_eff > 0), design.used.sum(axis=-1)
    status = np.full(n, "", dtype=object)
    status[k < 2] = TOO_FEW
    status[~(design.images > 0).any(axis=-1)] = NO_DENOMINATOR
    status[design.circular] = CIRCULAR
    known = status == ""
    n_eff, images = np.where(used, design.n_eff, 1.0), np.where(used, design.images, 1.0)
    own = np.array([power.variance(rate[a], n_eff[a], images[a], person_sd[a]) for a in range(n)])
    order = np.argsort(-np.where(used, own, -1), axis=-1, kind="stable")[:, :2]
    rows = np.arange(n)
    worst = [(n_eff[rows, order[:, j]], images[rows, order[:, j]]) for j in (0, 1)]
    share = divide(np.where(used, design.n_eff, 0).sum(axis=-1), np.where(used, design.people, 0).sum(axis=-1))
    per_person = divide(np.where(used, design.images, 0).sum(axis=-1), np.where(used, design.people, 0).sum(axis=-1))
    smallest, needed, seeds, least, times, people, training = (np.full(n, np.nan) for _ in range(7))
    for groups, sd in sorted({(int(k[a]), float(person_sd[a])) for a in np.flatnonzero(known)}):
        here = known & (k == groups) & (person_sd == sd)
        pair, given = tuple((x[here], y[here]) for x, y in worst), (sd, groups, level, assumptions.power)
        smallest[here] = power.detectable_gap(rate[here], *pair, *given)
        needed[here] = power.people_needed(planning.gap, rate[here], share[here], per_person[here], *given)
    two = tuple(own[rows, order[:, j]] for j in (0, 1))
    people[known] = 2 * (1 - planning.run_correlation) * sum(two)[known]
    training[known] = planning.training_sd**2
    for a in np.flatnonzero(known):
        key = design.attributes[a], design.grouping, design.criterion
        people[a], training[a] = assumptions.variances.get(key, (people[a], training[a]))
    change = (
        planning.change,
        people[known],
        power.pair_freedom(two, tuple(x for x, _ in worst))[known] + 1,
        training[known],
    )
    seeds[known] = power.seeds_needed(*change, level, assumptions.power)
    least[known] = power.seeds_needed(planning.change, 0.0, *change[2:], level, assumptions.power)
    times[known] = power.times_as_many_people(*change, assumptions.n_seeds, level, assumptions.power)
    names = np.array(design.groups, dtype=object)
    named = np.array([";".join(names[order[a]]) if known[a] else "" for a in range(n)], dtype=object)
    hardest = (rows, order[:, 0])
    return pd.DataFrame(
        {
            "attribute": spread(design.attributes, (n,), 0),
            "grouping": design.grouping,
            "criterion": design.criterion,
            "n_groups": k,
            "groups_excluded": [";".join(names[~mask]) for mask in design.used],
            "hardest_groups": named,
            "people": np.where(known, design.people[hardest], 0),
            "n_eff": np.where(known, design.n_eff[hardest], np.nan),
            "images": np.where(known, design.images[hardest], 0).astype(np.int64),
            "base_rate": design.base_rate,
            "rate": rate,
            "person_sd": person_sd,
            "intraclass": [float(power.intraclass(r, sd)) for r, sd in zip(rate, person_sd, strict=True)],
            "level": level,
            "power": assumptions.power,
            "detectable_gap": smallest,
            "gap": planning.gap,
            "resolvable": resolved(smallest, planning.gap, known),
            "people_needed": needed,
            "change": planning.change,
            "variance_people": people,
            "variance_training": training,
            "seeds_needed": seeds,
            "least_seeds": least,
            "n_seeds": assumptions.n_seeds,
            "times_as_many_people": times,
            "status": status,
        }
    )


def _rates(design: Design, assumptions: Assumptions, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """(A,) assumed rate of the best group, and how much people differ: of an earlier run, or as planned."""
    planning, base = assumptions.planning, np.nan_to_num(design.base_rate, nan=0.5)
    right = planning.rate
    assumed = {
        "tpr": np.full(len(base), right), "fpr": np.full(len(base), 1 - right), "accuracy": np.full(len(base), right),
        "selection_rate": base * right + (1 - base) * (1 - right),
    }  # fmt: skip
    learned = [
        assumptions.learned.get((attribute, metric))
        or assumptions.learned.get(("", metric), (default, planning.person_sd))
        for attribute, default in zip(design.attributes, assumed[metric], strict=True)
    ]
    return np.array([rate for rate, _ in learned]), np.array([sd for _, sd in learned])


# --- an earlier run ---


def learned_from(folder: str | os.PathLike, assumptions: Assumptions) -> Assumptions:
    """Assumptions with the rates, design effects and variances in the tables of an earlier run (``results/fairness``)."""
    path = Path(folder) / "group_metrics.csv"
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; name the folder of an earlier run's tables, for example results/fairness"
        )
    table = _read_csv(path)
    needed = ("attribute", "metric", "value", "design_effect", "denominator", "n_eff", "group_correction", "status")
    check_names(f"{path}: the columns", needed, table.columns)
    table = table[table["group_correction"].isna() & table["status"].isna()]
    learned = {}
    for (attribute, metric), rows in table[table["metric"].isin(PLANNED.values())].groupby(["attribute", "metric"]):
        value, weight = rows["value"].to_numpy(float), rows["denominator"].to_numpy(float)
        per_person = weight / rows["n_eff"].to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = (rows["design_effect"].to_numpy(float) - 1) / (per_person - 1)
        told = np.isfinite(rho) & (per_person > 1.05)  # one image each says nothing of how much they are alike
        rate = float(np.average(value, weights=weight))
        sd = assumptions.planning.person_sd
        if told.any():
            rho = float(np.average(rho[told], weights=rows["n_eff"].to_numpy(float)[told]))
            sd = round(power.person_sd_of(rate, min(max(rho, 0.0), 1.0)), 2)
        learned[attribute, metric] = rate, sd
    if not learned:
        raise UserError(f"{path}: no row has a rate that can be used; evaluate a run with more people first")
    for metric in {metric for _, metric in learned}:
        means = np.mean([pair for (_, other), pair in learned.items() if other == metric], axis=0)
        learned["", metric] = float(means[0]), round(float(means[1]), 2)
    return replace(assumptions, learned=learned, variances=_variances(Path(folder) / "model_comparison.csv"))


def _variances(path: Path) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Of the changes of methods: those of runs with several seeds; the mean over candidates."""
    if not path.is_file():
        return {}
    table = _read_csv(path)
    table = table[(table["scope"] == "gap") & (table["n_seeds"] > 1) & table["variance_people"].notna()]
    table = table.assign(variance_training=table["variance_training"] * table["n_seeds"])
    key = ["attribute", "grouping", "metric_or_criterion"]
    means = table.groupby(key)[["variance_people", "variance_training"]].mean()
    return {name: tuple(row) for name, row in zip(means.index, means.to_numpy(), strict=True)}


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV file ({error})") from error


# --- a table of one's own ---


def designs_of_table(
    path: str | os.PathLike, groupings: Sequence[str], attributes: Sequence[str], settings: FairnessSettings
) -> list[Design]:
    """The designs of a CSV or Parquet table with ``identity_id``, columns of groups, and columns of labels.

    groupings   columns of groups, or products of them; by default every dimension that is a column, or ``group``
    attributes  columns of labels; by default all others. The settings say how labels are written, and what is too few.
    """
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist; give a table with the columns identity_id, group and labels")
    frame = read_table(path) if is_parquet(path) else _read_csv(Path(path))
    if "identity_id" not in frame:
        raise UserError(f"{path}: column 'identity_id' is missing; it says which images show the same person")
    if not groupings:
        groupings = [c for c in (*DIMENSIONS, "group") if c in frame]
    if not groupings:
        raise UserError(f"{path}: no column of groups ({', '.join(DIMENSIONS)} or group); name yours with --grouping")
    names = list(dict.fromkeys(d for g in groupings for d in parse_grouping(g, f"--grouping, {path}", frame.columns)))
    other = [c for c in frame if c not in ("image_id", "identity_id", "split", "image", "dataset", *DIMENSIONS, *names)]
    check_names(f"--attribute, {path}", attributes, other)
    attributes = attributes or [c for c in other if pd.api.types.is_numeric_dtype(frame[c])]
    if not attributes:
        raise UserError(f"{path}: no column of labels (numbers 1, -1, 0); name yours with --attribute")
    levels = {name: tuple(sorted(map(str, frame[name].dropna().unique()))) for name in names}
    frame = frame.assign(**{name: frame[name].astype("str").where(frame[name].notna()) for name in names})
    if "image_id" not in frame:
        frame = frame.assign(image_id=[f"row {k + 1}" for k in range(len(frame))])
    return designs(
        frame, settings.changed(levels=levels, groupings=tuple(groupings), attributes=tuple(attributes)), str(path)
    )


# --- in words ---


def warnings(table: pd.DataFrame, n_perm: int) -> list[str]:
    """Sentences on what no number of people would help against."""
    level = float(table["level"].min()) if len(table) else 1.0
    if n_perm and level * (n_perm + 1) < 1:
        return [
            f"{n_perm} permutations give no p below {1 / (n_perm + 1):.2g}, and a single true gap needs {level:.2g}: set "
            f"evaluation.n_perm to at least {int(np.ceil(1 / level))}"
        ]
    return []


def text(table: pd.DataFrame, assumptions: Assumptions) -> str:
    """The table for a terminal, below the assumptions it rests on."""
    planning = assumptions.planning
    levels = sorted(set(table["level"]))
    tests = " or ".join(f"{assumptions.level / level:.0f}" for level in reversed(levels))
    source = "an earlier run's rates and design effects" if assumptions.learned else (
        f"assumed: right answers {planning.rate:g}, people who differ by a standard deviation of {planning.person_sd:g} on "
        "the logit scale"
    )  # fmt: skip
    lines = [
        f"Power {assumptions.power:g}; tests at level {' or '.join(f'{level:.3g}' for level in levels)}: {assumptions.level:g} "
        f"shared by {tests} test{'s' if tests != '1' else ''} (Bonferroni), so that q is below {assumptions.level:g} even if "
        "nothing else differs.",
        f"Rates: {source}.",
        f"Changes: training sd {planning.training_sd:g} between seeds, errors of two runs correlate by "
        f"{planning.run_correlation:g}{', except where the earlier run says more' if assumptions.variances else ''}.",
        "",
    ]
    head = (
        "grouping", "attribute", "gap in", "groups", "people", "n_eff", "sees a gap of", f"people per group for {planning.gap:g}",
        f"seeds for a change of {planning.change:g}",
    )  # fmt: skip
    body = [
        (
            row.grouping, row.attribute, row.criterion, str(row.n_groups), str(row.people), f"{row.n_eff:.0f}",
            _number(row.detectable_gap, "none"), _number(row.people_needed, "no number"), seeds_in_words(row),
        )
        if not row.status
        else (row.grouping, row.attribute, row.criterion, str(row.n_groups), row.status.replace("_", " "), *[""] * 4)
        for row in table.itertuples(index=False)
    ]  # fmt: skip
    widths = [max(len(line[k]) for line in (head, *body)) for k in range(len(head))]
    lines += ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in (head, *body)]
    lines += ["", "people and n_eff: those of the group that says least. A gap is one between any two groups."]
    if excluded := sorted({g for names in table["groups_excluded"] for g in names.split(";") if g}):
        lines.append(f"Left out for too few people or images, at least once: {', '.join(excluded)}.")
    return "\n".join(lines)


def seeds_in_words(row: Any) -> str:
    """How many seeds a change needs, or what else, from a row of the table."""
    if row.seeds_needed == row.seeds_needed:
        return f"{row.seeds_needed:.0f}"
    if row.times_as_many_people == row.times_as_many_people:
        return f"no number; {row.times_as_many_people:.1f} times the people with {row.n_seeds} seeds"
    if row.least_seeds == row.least_seeds:
        return f"no number; with more people at least {row.least_seeds:.0f}"
    return f"more than {power.MOST_SEEDS}, with any number of people"


def _number(value: float, missing: str) -> str:
    return missing if value != value else f"{value:.3f}" if value < 1 else f"{value:.0f}"
