"""Coverage of shrunken rates and of a scan's bounds, and false discoveries over a whole table, where the truth is known.

python tests/simulated_subgroups.py [runs]

People as in ``simulated_people``, in 24 groups of two genders, three ages and four ethnicities. Every attribute of a
simulated table is one independent run. Prints the tables of docs/statistics.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))

import numpy as np
import pandas as pd
from scipy.special import expit
from simulated_people import SPREAD, intercept

from evenface.fairness import FairnessSettings
from evenface.fairness.criteria import hypothesis_of
from evenface.fairness.cube import CellSpace, Cube
from evenface.fairness.evaluated import evaluate_grouping, observed_of
from evenface.fairness.gap_tables import gap_rows, with_all_tests
from evenface.fairness.inference import Resampler
from evenface.fairness.inputs import Scored
from evenface.fairness.shrinkage import shrink
from evenface.fairness.subgroup_scan import families, scan

SHARED = 25  # runs with the same people and images
LEVELS = {"gender": ("f", "m"), "age": ("y", "m", "s"), "ethnicity": ("a", "b", "c", "d")}
SPACE = CellSpace(LEVELS)
TRIPLE = "gender*age*ethnicity"
SHAPE = tuple(len(levels) for levels in LEVELS.values())
OF_GROUP = np.stack(np.unravel_index(np.arange(np.prod(SHAPE)), SHAPE), axis=1)
N = len(OF_GROUP)

#: people per group, dealt at random: as uneven as in collections of photographs
PEOPLE = (0, 2, 5, 10, 20, 60)

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@dataclass(frozen=True)
class World:
    """How groups differ on the logit scale.

    rate         average rate; ``effects`` standard deviation of the effects of levels
    interaction  standard deviation of the groups' own deviations
    odd          what is added to one group, chosen at random
    spans        whether everybody also has images in the next age
    """

    rate: float = 0.8
    effects: float = 0.4
    interaction: float = 0.0
    odd: float = 0.0
    spans: bool = False


def truths(world: World, rng: np.random.Generator, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """(runs, N) logits of the median person, and (runs,) the odd group."""
    logits = intercept(world.rate, SPREAD) + world.interaction * rng.normal(size=(runs, N))
    for dimension, n in enumerate(SHAPE):
        logits = logits + world.effects * rng.normal(size=(runs, n))[:, OF_GROUP[:, dimension]]
    odd = rng.integers(0, N, runs)
    logits[np.arange(runs), odd] += world.odd
    return logits, odd


def rates(logits: np.ndarray) -> np.ndarray:
    """True rates of groups: means over people."""
    return expit(logits[..., None] + SPREAD * _NODES) @ _WEIGHTS / _WEIGHTS.sum()


def cube(logits: np.ndarray, group: np.ndarray, rng: np.random.Generator, *, spans: bool = False) -> Cube:
    """Counts of people whose groups are ``group`` (people,), of positives only; an attribute per row of logits."""
    n, runs = len(group), len(logits)
    images = np.clip(np.round(np.exp(rng.normal(np.log(40), 1.2, n))), 1, 800).astype(int)
    person, identity = rng.normal(size=(n, runs)), np.arange(n)
    if spans:
        older = OF_GROUP[group] + [0, 1, 0]
        older[:, 1] %= SHAPE[1]
        group = np.concatenate([group, np.ravel_multi_index(older.T, SHAPE)])
        images, identity, person = np.tile(images, 2), np.tile(identity, 2), np.tile(person, (2, 1))
    order = np.lexsort((identity, group))
    group, images, identity, person = group[order], images[order], identity[order], person[order]
    counts = np.zeros((len(group), runs, 6), dtype=np.int32)
    counts[..., 3] = rng.binomial(images[:, None], expit(logits.T[group] + SPREAD * person))
    counts[..., 2] = images[:, None] - counts[..., 3]
    cell = SPACE.codes(dict(zip(LEVELS, OF_GROUP[group].T, strict=True)))
    names = np.array([f"p{k:05d}" for k in range(n)], dtype=object)
    return Cube(SPACE, tuple(f"a{k:03d}" for k in range(runs)), names, cell, identity, counts)


def _settings(**kwargs) -> FairnessSettings:
    return FairnessSettings(
        **({"groupings": (TRIPLE,), "levels": LEVELS, "min_denominator": 1, "min_identities": 1} | kwargs)
    )


def shrinkage(world: World, runs: int, seed: int = 0) -> pd.DataFrame:
    """A row per run and group: people, truth, raw and shrunken estimates and whether their intervals contain the truth."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(-(-runs // SHARED)):
        logits, odd = truths(world, rng, SHARED)
        people = rng.permutation(np.resize(PEOPLE, N))
        model = cube(logits, np.repeat(np.arange(N), people), rng, spans=world.spans)
        result = evaluate_grouping(Scored(model, {}, "identity", {}, 0), SPACE.grouping(TRIPLE), _settings())
        observed, truth = observed_of(result, _settings()), rates(logits)
        x, n_eff = observed.rates.x["tpr"], observed.support["tpr"].n_eff
        found = shrink(x, observed.se["tpr"], n_eff, observed.correlation("tpr"), OF_GROUP, observed.level)
        low, high = observed.limits("tpr", observed.z)
        columns = {
            "people": np.broadcast_to(people, truth.shape), "raw_error": (x - truth) ** 2, "raw_width": high - low,
            "raw": np.where(np.isnan(low), np.nan, (low <= truth) & (truth <= high)),
            "error": (found.value - truth) ** 2, "width": found.high - found.low,
            "covered": (found.low <= truth) & (truth <= found.high), "odd": np.arange(N) == odd[:, None],
        }  # fmt: skip
        frames.append(pd.DataFrame({name: np.ravel(values) for name, values in columns.items()}))
    return pd.concat(frames, ignore_index=True)


def scanning(world: World, people: int, runs: int, seed: int = 0, n_boot: int = 500, **kwargs) -> dict[str, float]:
    """Shares of runs in which all bounds of supported subgroups hold at once, and in which flags or certificates are false.

    ``flagged`` is the share of runs in which the odd group is flagged. Groups of people are drawn with unequal chances.
    """
    rng, hits = np.random.default_rng(seed), {}
    grouping_of = families(SPACE)
    for part in range(-(-runs // SHARED)):
        logits, odd = truths(world, rng, SHARED)
        share = rng.dirichlet(np.full(N, 3.0))
        settings = _settings(
            n_boot=n_boot, n_perm=0, seed=seed + part, **({"min_identities": 10, "min_denominator": 30} | kwargs)
        )
        model = cube(logits, np.sort(rng.choice(N, people, p=share)), rng)
        scored = Scored(model, {}, "identity", {}, 0)
        evaluated = {g.name: evaluate_grouping(scored, g, settings) for g in grouping_of}
        found = scan("m", model, evaluated, Resampler({"m": model}, settings))["tpr"]
        truth = rates(logits)
        cells = SPACE.codes(dict(zip(LEVELS, OF_GROUP.T, strict=True)))
        members = np.concatenate([g.of_cell[cells] == np.arange(g.n_known)[:, None] for g in grouping_of[1:]])
        weight = members * share
        of_group, of_others = ((truth @ part.T) / part.sum(axis=1) for part in (weight, share - weight))
        difference = of_group - of_others
        seen = ~np.isnan(found.low)
        inside = (found.low <= difference) & (difference <= found.high) | ~seen
        above, below = found.low_one_sided <= difference, difference <= found.high_one_sided
        threshold = settings.practical_threshold
        certified = (found.low > -threshold) & (found.high < threshold)
        flagged = (found.low > 0) | (found.high < 0)
        of_odd = flagged[np.arange(SHARED), members.shape[0] - N + odd]
        for name, values in {
            "both": inside.all(axis=1), "lower": (above | ~seen).all(axis=1), "upper": (below | ~seen).all(axis=1),
            "false certificate": (certified & (np.abs(difference) >= threshold)).any(axis=1),
            "certified": certified.sum(axis=1) / np.maximum(seen.sum(axis=1), 1),
            "false flag": (flagged & (np.abs(difference) < 1e-9)).any(axis=1),
            "flagged": flagged.sum(axis=1) / np.maximum(seen.sum(axis=1), 1),
            "odd": of_odd, "subgroups": seen.sum(axis=1),
        }.items():  # fmt: skip
            hits.setdefault(name, []).append(values)
    return {name: float(np.mean(np.concatenate(values))) for name, values in hits.items()}


def discoveries(share: float, runs: int, people: int = 300, n_perm: int = 999, seed: int = 0) -> dict[str, float]:
    """Shares over whole tables, at 5 %: false among the rejected hypotheses (``false``), and rejected among the true effects.

    Each of ``runs`` tables has ten attributes and seven groupings. In a share of the attributes, a gender's rate of hits is
    0.5 instead of 0.8, so its effects are in all groupings with gender and in all criteria but those of false positives.
    """
    rng, found = np.random.default_rng(seed), {"false": [], "found": []}
    settings = _settings(groupings=tuple(g.name for g in families(SPACE)[1:]), n_boot=0, n_perm=n_perm)
    unequal = np.arange(10) < round(10 * share)
    for run in range(runs):
        group = np.sort(rng.integers(0, N, people))
        hits = np.full((10, N), intercept(0.8, SPREAD))
        hits[np.ix_(unequal, OF_GROUP[:, 0] == 0)] = intercept(0.5, SPREAD)
        model = cube(hits, group, rng)
        # as many negatives of other people's images, rejected alike in all groups
        other = cube(np.full((10, N), intercept(0.8, SPREAD)), group, rng).counts
        counts = model.counts + other[..., [3, 2, 1, 0, 4, 5]]
        model = replace(model, counts=counts.astype(np.int32))
        evaluated = {
            name: evaluate_grouping(Scored(model, {}, "identity", {}, 0), SPACE.grouping(name), settings)
            for name in settings.groupings
        }
        observed = {name: (one.grouping, observed_of(one, settings)) for name, one in evaluated.items()}
        inferred = Resampler({"m": model}, settings.changed(seed=seed + run)).infer("m", model, observed)
        scored = Scored(model, dict.fromkeys(model.attributes, 0.5), "identity", {}, 0)
        key = dict(run_id="m", model_id="m", dataset="d", split="test")
        table = with_all_tests(
            pd.concat(
                [
                    gap_rows(key | {"grouping": name}, one, inferred[name], scored, settings)
                    for name, one in evaluated.items()
                ],
                ignore_index=True,
            )
        )
        table = table[table["p_value"].notna()]
        table = table.assign(hypothesis=["|".join(hypothesis_of(c)) for c in table["criterion"]]).drop_duplicates(
            ["attribute", "grouping", "hypothesis"]
        )
        effect = (
            table["attribute"].isin([a for a, u in zip(model.attributes, unequal, strict=True) if u])
            & table["grouping"].str.contains("gender") & ~table["hypothesis"].isin(["fpr", "base_rate", "label_coverage"])
        )  # fmt: skip
        rejected = table["q_value_all"] < 0.05
        found["false"].append((rejected & ~effect).sum() / max(rejected.sum(), 1))
        found["found"].append((rejected & effect).sum() / max(effect.sum(), 1))
    return {name: float(np.mean(values)) for name, values in found.items()} | {"hypotheses": len(table)}


WORLDS = {
    f"{name}, rate {rate}": World(rate, **kwargs)
    for rate in (0.8, 0.98)
    for name, kwargs in {
        "additive": {},
        "small interactions": {"interaction": 0.2},
        "interactions": {"interaction": 0.5},
        "one odd group": {"odd": -1.5},
        "interactions, people in two ages": {"interaction": 0.5, "spans": True},
    }.items()
}
SCANS = {
    f"{name}, {people} people, rate {rate}": (World(rate, **kwargs), people)
    for rate in (0.8, 0.98)
    for people in (200, 500)
    for name, kwargs in {
        "no differences": {"effects": 0.0},
        "additive": {},
        "interactions": {"interaction": 0.5},
        "one odd group": {"effects": 0.0, "odd": -1.5},
    }.items()
}


def _percent(value: float) -> str:
    return "–" if value != value else f"{100 * value:.1f}"


def main(runs: int) -> None:
    print(
        f"\n| setting | all | {' | '.join(f'{n} people' for n in PEOPLE)} | odd group |\n|---|---|{'---|' * len(PEOPLE)}---|"
    )
    errors = []
    for name, world in WORLDS.items():
        table = shrinkage(world, runs)
        by = table.groupby("people")
        odd = table.loc[table["odd"], "covered"].mean() if world.odd else np.nan
        print(
            f"| {name} | {' | '.join(_percent(v) for v in (table['covered'].mean(), *by['covered'].mean(), odd))} |",
            flush=True,
        )
        raw = table[table["raw"].notna()].groupby("people")
        columns = (
            by["raw"].mean(),
            by["error"].mean() / by["raw_error"].mean(),
            raw["width"].mean() / raw["raw_width"].mean(),
        )
        errors.append((name, [column.reindex(PEOPLE[1:]) for column in columns]))
    print(f"\n| setting | {' | '.join(f'{n} people' for n in PEOPLE[1:])} |\n|---|{'---|' * len(PEOPLE[1:])}")
    for name, (covered, error, width) in errors:
        cells = (f"{_percent(c)}, {e:.2f}, {w:.2f}" for c, e, w in zip(covered, error, width, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
    print(
        "\n| attributes with a difference | hypotheses | false among the rejected | rejected among the true |\n|---|---|---|---|"
    )
    for share in (0.0, 0.2, 0.5):
        found = discoveries(share, runs // 4)
        print(
            f"| {10 * share:.0f} of 10 | {found['hypotheses']} | {_percent(found['false'])} | {_percent(found['found'])} |",
            flush=True,
        )
    columns = ("both", "lower", "upper", "false flag", "false certificate", "flagged", "certified", "odd")
    print(f"\n| setting | subgroups | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for name, (world, people) in SCANS.items():
        found = scanning(world, people, runs)
        found["odd"] = found["odd"] if world.odd else np.nan
        found["false flag"] = np.nan if world.odd or world.effects or world.interaction else found["false flag"]
        print(f"| {name} | {found['subgroups']:.0f} | {' | '.join(_percent(found[c]) for c in columns)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
