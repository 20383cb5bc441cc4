"""Runs: the trainings of one recipe that differ only in their seed, and what they say together.

The counts of a run are the sums of its seeds' counts. A rate over labels is then the mean of the seeds' rates, while
people stay the units that are drawn and permuted, all their images in all seeds at once. Seeds are repetitions of a
training, never further people: repeating every image changes no interval. How much the seeds differ is added to intervals
and tests, so that they are about the method.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from evenface.errors import UserError
from evenface.fairness.criteria import Rates
from evenface.fairness.cube import Cube
from evenface.fairness.evaluated import Evaluated, in_all, observed_of, split_model_id
from evenface.fairness.settings import FairnessSettings
from evenface.fairness.training_luck import Training


@dataclass(frozen=True)
class Run:
    """One run on one test set.

    id         the model's id; the run's name if it has several seeds
    models     model ids by seed
    cube       counts, summed over seeds
    evaluated  grouping -> the run, evaluated on these counts
    seeds      grouping -> each seed's own evaluation
    """

    id: str
    models: tuple[str, ...]
    cube: Cube
    evaluated: Mapping[str, Evaluated]
    seeds: Mapping[str, tuple[Evaluated, ...]]

    @property
    def numbers(self) -> tuple[int | None, ...]:
        return tuple(split_model_id(model)[1] for model in self.models)


def runs_of(evaluated: Mapping[str, Mapping[str, Evaluated]], cubes: Mapping[str, Cube], settings) -> dict[str, Run]:
    """Name -> run of all models, in their order; seeds in ascending order.

    Raises UserError when the seeds of a run were scored on different attributes or images.
    """
    return {name: _run(name, ids, evaluated, cubes, settings) for name, ids in seeds_of_runs(evaluated).items()}


def seeds_of_runs(model_ids: Iterable[str]) -> dict[str, list[str]]:
    """Run -> its model ids, seeds in ascending order. UserError where two models are the same seed, or one has none."""
    members: dict[str, dict[int | None, str]] = {}
    for model_id in model_ids:
        name, seed = split_model_id(model_id)
        seeds = members.setdefault(name, {})
        other = seeds.get(seed) or next(iter(seeds.values()), None)
        if other and (seed in seeds or None in (seed, *seeds)):
            raise UserError(
                f"the models {other!r} and {model_id!r} are of one run, {name!r}, but not two seeds of it; write the number of "
                f"a seed at the end, such as {name}-1 and {name}-2, or give the runs other names"
            )
        seeds[seed] = model_id
    return {
        name: [seeds[seed] for seed in sorted(seeds, key=str if None in seeds else int)]
        for name, seeds in members.items()
    }


def _run(name: str, models: list[str], evaluated, cubes, settings: FairnessSettings) -> Run:
    seeds = {grouping: tuple(evaluated[m][grouping] for m in models) for grouping in evaluated[models[0]]}
    first = cubes[models[0]]
    if len(models) == 1:
        return Run(models[0], (models[0],), first, evaluated[models[0]], seeds)
    for model in models[1:]:
        check_same_attributes((models[0], first), (model, cubes[model]))
        if not same_images(first, cubes[model]):
            raise UserError(
                f"{models[0]} and {model}, two seeds of run {name!r}, were scored on different images; predict both on the "
                "same test set, or leave one of them out"
            )
    cube = replace(first, counts=np.sum([cubes[m].counts for m in models], axis=0, dtype=np.int32))
    together = {grouping: _together(cube, of_seeds, settings) for grouping, of_seeds in seeds.items()}
    return Run(name, tuple(models), cube, together, seeds)


def _together(cube: Cube, seeds: tuple[Evaluated, ...], settings: FairnessSettings) -> Evaluated:
    """The evaluation of summed counts; a group is used if every seed uses it."""
    first = seeds[0]
    counted = cube.by_group(first.grouping)
    support = {metric: in_all([seed.support[metric] for seed in seeds]) for metric in first.support}
    counts = counted.counts.transpose(1, 0, 2)[:, : first.n_groups]
    rates = Rates.of(counts, {metric: one.used for metric, one in support.items()}, settings.alpha)
    together = replace(first, counted=counted, rates=rates, support=support, n_seeds=len(seeds))
    of_seeds = [(seed.rates.x, observed_of(seed, settings).se) for seed in seeds]
    training = Training.of(of_seeds, observed_of(together, settings).se, rates.used)
    return replace(together, training=training)


def check_same_attributes(*models: tuple[str, Cube]) -> None:
    """Raise UserError unless two models, each with its name, were scored on the same attributes."""
    (a, one), (b, other) = models
    for here, there, name in ((one, other, b), (other, one, a)):
        missing = [attribute for attribute in here.attributes if attribute not in there.attributes]
        if missing:
            raise UserError(
                f"{a} and {b} were scored on different attributes: the predictions of {name} have no column "
                f"score_{missing[0]} or pred_{missing[0]}; predict both again, or set evaluation.attributes to those that "
                "both have"
            )


def same_images(a: Cube, b: Cube) -> bool:
    """Whether two cubes count the same images of the same people and groups, as far as counts can say."""
    same = all(np.array_equal(getattr(a, part), getattr(b, part)) for part in ("identities", "cell", "identity"))
    return same and np.array_equal(a.counts.sum(axis=-1), b.counts.sum(axis=-1))
