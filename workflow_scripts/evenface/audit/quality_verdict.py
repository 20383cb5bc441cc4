"""Judges a study of the quality score: does the score fall with every factor, and alike for every group?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from evenface.errors import UserError
from evenface.seeds import seed_from
from evenface.taxonomy import DIMENSIONS

#: Rank correlation from which a score counts as falling with a factor.
ENOUGH = 0.8

_DRAWS = 2000
#: Standard errors below this are rounding errors of equal values.
_NO_ERROR = 1e-9


def judge(
    measured: pd.DataFrame, levels: Mapping[str, Sequence[float]], clean: str, threshold: float, seed: int = 0
) -> pd.DataFrame:
    """The verdict on a study: one row per question, factor and group.

    ``measured`` has a row per person and picture: person, gender, age, ethnicity, degradation, level, magnitude.
    ``levels`` names each factor's levels from mild to severe, ``clean`` the undegraded picture. Questions:

    ``limit`` is what value, low and high are compared with.

    * ``falls``: Spearman's correlation of score and severity over all people and levels, the undegraded pictures
      included; 1 means that every worse picture has a lower score, whoever is shown. The interval (95 %) is a bootstrap
      over people. ``verdict`` is yes or no if the whole interval is above or below :data:`ENOUGH`, otherwise unsure.
    * ``falls_within_person``: the mean of each person's own correlation, with the same interval and verdicts.
    * ``slope``: how much more the score falls per step of severity for a group than for all other people, as a share
      of the mean fall from the undegraded picture to the worst level.
    * ``acceptance``: by how much a group's share of accepted pictures exceeds that of all other people. Here the
      undegraded picture is a factor too.

    The intervals of ``slope`` and ``acceptance`` hold for all groups, factors and groupings at once: their half width is
    the standard error times the 95 % quantile of the largest studentised difference under random reassignments of people
    to groups. ``verdict`` is "no" if the interval excludes 0, otherwise "yes": no difference beyond its interval.
    Raises UserError for scores that are not finite.
    """
    if not np.isfinite(measured["magnitude"]).all():
        raise UserError(
            "screening.magface.weights: the network's output for some faces is not a number; use other weights"
        )
    table = measured.pivot_table(index="person", columns=["degradation", "level"], values="magnitude")
    people = measured.drop_duplicates("person").set_index("person").loc[table.index]
    scores = {
        factor: table[[(clean, 0.0), *((factor, float(level)) for level in steps)]].to_numpy()
        for factor, steps in levels.items()
    }
    random = np.random.Generator(np.random.PCG64(seed_from(seed, "quality verdict")))
    rows = []
    drawn = np.split(random.integers(0, len(table), (_DRAWS, len(table))), 20)  # in parts, to bound the memory
    for factor, values in scores.items():
        own = _correlations(values[:, None, :])
        for question, value, sample in (
            ("falls", _correlations(values[None])[0], np.concatenate([_correlations(values[d]) for d in drawn])),
            ("falls_within_person", own.mean(), np.concatenate([own[d].mean(1) for d in drawn])),
        ):
            low, high = np.quantile(sample, (0.025, 0.975))
            verdict = "yes" if low >= ENOUGH else "no" if high < ENOUGH else "unsure"
            rows.append((question, factor, "all", "all", len(table), value, low, high, ENOUGH, verdict))
    outcomes = {("slope", factor): _slopes(values) for factor, values in scores.items()}
    outcomes |= {("acceptance", clean): (table[(clean, 0.0)] >= threshold).to_numpy(float)}
    outcomes |= {("acceptance", factor): (values[:, 1:] >= threshold).mean(1) for factor, values in scores.items()}
    rows += _between_groups(people, outcomes, random)
    columns = ["question", "degradation", "grouping", "group", "people", "value", "low", "high", "limit", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def _correlations(scores: np.ndarray) -> np.ndarray:
    """Spearman's correlation (n,) of score and mildness for samples (n, people, steps), steps from mild to severe.

    A score that never changes has the correlation 0.
    """
    count, people, steps = scores.shape
    ranks = pd.DataFrame(scores.reshape(count, -1).T).rank().to_numpy().T.reshape(scores.shape)
    ranks = ranks - ranks.mean((1, 2), keepdims=True)
    mildness = np.arange(steps, 0, -1) - (steps + 1) / 2
    spread = np.sqrt((ranks**2).sum((1, 2)) * (mildness**2).sum() * people)
    return np.divide((ranks * mildness).sum((1, 2)), spread, out=np.zeros(count), where=spread > 0)


def _slopes(scores: np.ndarray) -> np.ndarray:
    """Least-squares fall (people,) from the mildest to the worst step of ``scores`` (people, steps), in mean falls."""
    steps = scores.shape[1]
    mildness = np.arange(steps, 0, -1) - (steps + 1) / 2
    falls = scores @ mildness / (mildness**2).sum() * (steps - 1)
    mean = abs(falls.mean())
    return falls / mean if mean > 0 else falls


def _between_groups(
    people: pd.DataFrame, outcomes: Mapping[tuple[str, str], np.ndarray], random: np.random.Generator
) -> list[tuple]:
    """Rows of every group's difference from all other people, with simultaneous intervals."""
    values = np.column_stack(list(outcomes.values()))
    groupings = {name: pd.get_dummies(people[name]).astype(float) for name in DIMENSIONS}
    members = pd.concat(groupings, axis=1)
    members = members.loc[:, (members.sum() > 0) & (members.sum() < len(people))]
    largest = np.zeros(_DRAWS)
    for draw in range(_DRAWS):
        difference, error = _differences(members.to_numpy(), values[random.permutation(len(values))])
        largest[draw] = np.max(np.abs(difference) / np.maximum(error, _NO_ERROR), initial=0, where=error > _NO_ERROR)
    difference, error = _differences(members.to_numpy(), values)
    half = np.quantile(largest, 0.95) * error
    rows = []
    for j, (question, factor) in enumerate(outcomes):
        for i, (grouping, group) in enumerate(members.columns):
            value, reach = difference[i, j], half[i, j]
            verdict = "no" if abs(value) > reach else "yes"
            size = int(members.iloc[:, i].sum())
            rows.append((question, factor, grouping, group, size, value, value - reach, value + reach, 0.0, verdict))
    return rows


def _differences(members: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of each group less that of the others, and its standard error, both (groups, outcomes).

    ``members`` is 0 or 1 (people, groups), ``values`` (people, outcomes). The error is that of a pooled t test.
    """
    inside, outside = members.sum(0)[:, None], (1 - members).sum(0)[:, None]
    mean, rest = members.T @ values / inside, (1 - members).T @ values / outside
    squares = (values**2).sum(0) - inside * mean**2 - outside * rest**2
    variance = np.maximum(squares, 0) / max(len(values) - 2, 1)
    return mean - rest, np.sqrt(variance * (1 / inside + 1 / outside))
