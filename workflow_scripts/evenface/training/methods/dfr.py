"""DFR (Kirichenko et al., ICLR 2023): keep a plainly trained network's embeddings, and fit its last layer on balanced groups.

The recipe follows the released code (github.com/PolinaKirichenko/deep_feature_reweighting, ``dfr_evaluate_spurious.py``): an
L1-penalised logistic regression (liblinear, which also penalises the intercept) on standardised embeddings, its strength chosen by the
worst group of one half of the images after a fit on the other, and coefficients averaged over several balanced subsets of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from evenface.parts import Method, Settings
from evenface.training.settings import TargetGroupSettings

if TYPE_CHECKING:
    import numpy as np

    from evenface.training.method import Problem


class RefitSettings(Settings):
    """Settings of methods that fit the last layer anew."""

    rows: Literal["validation", "training"] = Field(
        "validation", description="Images that the last layer is fitted on."
    )
    strengths: tuple[float, ...] = Field(
        (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01), min_length=1, description="Inverse penalties C to choose from."
    )
    refits: int = Field(20, ge=1, description="Balanced subsets whose coefficients are averaged.")


class DFRSettings(RefitSettings, TargetGroupSettings):
    """Its block of the configuration."""


def standardised(features: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``features`` (n, d) less the mean and divided by the deviation of ``of``; and both, float64 (d,). A constant stays."""
    import numpy as np

    mean, deviation = of.mean(0, dtype=np.float64), of.std(0, dtype=np.float64)
    deviation = np.where(deviation == 0, 1.0, deviation)
    return (features - mean) / deviation, mean, deviation


def fit_l1(
    features: np.ndarray, labels: np.ndarray, strength: float, *, tolerance: float = 1e-4, iterations: int = 100
) -> np.ndarray:
    """Coefficients and, last, the intercept (d + 1,) of the L1-penalised logistic regression of bool ``labels`` (n,)."""
    import warnings

    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # liblinear stops early at the released tolerance, on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(
            l1_ratio=1, C=strength, solver="liblinear", tol=tolerance, max_iter=iterations, random_state=0
        ).fit(features, labels)
    return np.append(model.coef_[0], model.intercept_[0])


def averaged(
    features: np.ndarray, labels: np.ndarray, subsets: Sequence[np.ndarray], strength: float, **how: float
) -> np.ndarray:
    """The mean (d + 1,) of the coefficients that are fitted on each of ``subsets``, lists of rows."""
    import numpy as np

    return np.mean([fit_l1(features[rows], labels[rows], strength, **how) for rows in subsets], axis=0)


def group_accuracies(
    coefficients: np.ndarray, features: np.ndarray, labels: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Share (G,) of right decisions in every group; codes -1 do not count."""
    import numpy as np

    right = (features @ coefficients[:-1] + coefficients[-1] > 0) == labels
    known = codes >= 0
    return np.bincount(codes[known], right[known]) / np.bincount(codes[known])


def balanced(codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Positions of a random subset in which all groups have as many as the rarest."""
    from evenface.training.target_groups import first_of_each

    return first_of_each(codes, random.permutation(len(codes)))


def refitted(
    train: np.ndarray, features: np.ndarray, labels: np.ndarray, codes: np.ndarray, settings: RefitSettings, seed: int
) -> tuple[np.ndarray, float]:
    """Coefficients (d + 1,) for plain embeddings, and the chosen strength.

    ``features`` (n, d), bool ``labels`` (n,) and ``codes`` int64 (n,) are those of the images to fit on; ``train`` (m, d) are the
    embeddings that standardise. Rows of code -1 are left out.
    """
    import numpy as np

    from evenface.seeds import seed_from

    known = codes >= 0
    features, labels, codes = features[known], labels[known], codes[known]
    random = np.random.Generator(np.random.PCG64(seed_from(seed, "dfr")))
    halves = random.permutation(len(codes))
    score, fit = np.sort(halves[: len(codes) // 2]), np.sort(halves[len(codes) // 2 :])
    rows = fit[balanced(codes[fit], random)]
    _, mean, deviation = standardised(features[:0], features[rows])
    scaled = (features - mean) / deviation
    worst = [
        group_accuracies(fit_l1(scaled[rows], labels[rows], c), scaled[score], labels[score], codes[score]).min()
        for c in settings.strengths
    ]
    strength = settings.strengths[int(np.argmax(worst))]
    _, mean, deviation = standardised(features[:0], train)
    scaled = (features - mean) / deviation
    found = averaged(scaled, labels, [balanced(codes, random) for _ in range(settings.refits)], strength)
    weights = found[:-1] / deviation
    return np.append(weights, found[-1] - (weights * mean).sum()), strength


def create(problem: Problem, settings: DFRSettings):
    """Plain training; then the last layer is fitted on balanced groups, attribute by attribute."""
    from evenface.training.target_groups import target_groups

    def codes_of(name):
        groups = target_groups(problem, settings.model_copy(update={"target": name}))
        return groups.codes, groups.names

    return made(problem, settings, "dfr", codes_of)


def made(
    problem: Problem, settings: RefitSettings, method: str, codes_of: Callable[[str], tuple[np.ndarray, Sequence[str]]]
):
    """The method: ``codes_of`` gives, for an attribute, the code (N,) of every image that is balanced, and what the codes mean."""
    import logging

    import numpy as np
    import torch

    from evenface.errors import UserError
    from evenface.training.last_linear import check_binary, last_linear
    from evenface.training.method import Classification

    check_binary(problem.attributes, method)
    log = logging.getLogger("evenface")

    class DFR(Classification):
        def run(self, session):
            fitted = session.fit(self)
            network = self.networks["network"]
            _, last = last_linear(network, len(problem.attributes), method)
            rows = problem.validation_rows if settings.rows == "validation" else problem.train_rows
            train = problem.outputs(network.embed, problem.train_rows).double().numpy()
            embedded = train if settings.rows == "training" else problem.outputs(network.embed, rows).double().numpy()
            for column, name in enumerate(problem.attributes):
                codes, names = codes_of(name)
                counts = np.bincount(codes[rows][codes[rows] >= 0], minlength=len(names))
                if (counts < 2).any():  # half of the images choose the strength
                    few = names[int(counts.argmin())]
                    raise UserError(
                        f"method {method}: fewer than 2 {settings.rows} images are in the group {few}; give it more"
                    )
                labels = problem.labels[rows, column] > 0
                found, strength = refitted(train, embedded, labels, codes[rows], settings, self._seed)
                log.info("%s: last layer fitted with C = %s", name, strength)
                with torch.no_grad():
                    last.weight[column] = torch.from_numpy(found[:-1]).to(last.weight)
                    last.bias[column] = float(found[-1])
            return fitted

    return DFR(problem, settings)


PART = Method(
    name="dfr",
    summary="Fits the last layer anew on group-balanced subsets (DFR).",
    code="evenface.training.methods.dfr:create",
    settings=DFRSettings,
    needs_groups=lambda settings: ("validation",) if settings["rows"] == "validation" else ("train",),
)
