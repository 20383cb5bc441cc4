"""Make the pictures and numbers of docs/statistics.md: ``python docs/make_figures.py``.

Simulated classifiers with known truth, evaluated by ``evenface.fairness``; same bytes every time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from evenface.fairness import FairnessSettings, evaluate  # noqa: E402
from evenface.report.svg import Dot, Series, dot_plot, line_plot  # noqa: E402
from evenface.storage.atomic import write_text  # noqa: E402

#: What the pages' style sheet would say; a picture in a document stands alone.
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1c1e21}.tick,.axis{fill:#565b63}.heading{font-weight:600}"
    ".grid{stroke:#d9dce1}.band{fill:#f5f6f8}.reference{stroke:#1c1e21;stroke-dasharray:4 3}</style>"
)
COVERS, MISSES = Series("covers the truth", "#0072b2", "circle"), Series("misses it", "#d55e00", "square")


def test_set(seed: int, groups: int, people: int, images: int, spread: float) -> tuple[pd.DataFrame, ...]:
    """Positive images of ``people`` per group; each person's hit rate is Beta with mean 0.8 in all groups.

    ``spread`` in (0, 1) is the intraclass correlation of hits of one person.
    """
    random = np.random.default_rng(seed)
    total = 1 / spread - 1
    rate = random.beta(0.8 * total, 0.2 * total, (groups, people))
    hit = random.random((groups, people, images)) < rate[..., None]
    group, person, image = (index.ravel() for index in np.indices(hit.shape))
    ids = [f"{g}-{p}-{k}" for g, p, k in zip(group, person, image)]
    predictions = pd.DataFrame(
        {"image_id": ids, "identity_id": [f"{g}-{p}" for g, p in zip(group, person)], "pred_Smiling": hit.ravel() * 1}
    )
    labels = pd.DataFrame({"image_id": ids, "label_Smiling": np.int8(1)})
    levels = pd.DataFrame({"image_id": ids, "ethnicity": [f"g{g}" for g in group]})
    return predictions, labels, levels


def settings(groups: int, **changes) -> FairnessSettings:
    levels = {"ethnicity": tuple(f"g{g}" for g in range(groups))}
    return FairnessSettings(groupings=("ethnicity",), levels=levels, circular={}, **changes)


def difference(tables: dict[str, pd.DataFrame]) -> pd.Series:
    """The row of the difference in TPR between the first two groups."""
    rows = tables["pairwise_differences"]
    return rows[rows["metric"] == "tpr"].iloc[0]


def intervals(sets: int = 200, shown: int = 24) -> str:
    """Intervals by image and by person over many test sets from one population without any difference."""
    chosen = settings(2, n_boot=400, n_perm=1)
    kinds = {"every image counts as independent": [], "persons are resampled": []}
    for seed in range(sets):
        predictions, labels, levels = test_set(seed, 2, 60, 20, 0.25)
        alone = predictions.assign(identity_id=predictions["image_id"])
        for rows, table in zip(kinds.values(), (alone, predictions)):
            rows.append(difference(evaluate(table, labels, levels, chosen)))
    pictures = []
    for name, rows in kinds.items():
        covered = [row["ci_low"] <= 0 <= row["ci_high"] for row in rows]
        dots = [
            Dot(str(k), COVERS if inside else MISSES, row["difference"], row["ci_low"], row["ci_high"])
            for k, (row, inside) in enumerate(zip(rows, covered))
        ]
        title = f"{name}: {np.mean(covered):.0%} of {sets} intervals contain the true difference, 0"
        print(title)
        pictures.append((title, dot_plot(
            title, [str(k) for k in range(shown)], dots[:shown], span=(-0.2, 0.2), label="difference in TPR, 95 % interval",
            labels={str(k): " " for k in range(shown)}, left=24, width=380, row_height=11, reference=0.0,
        )))  # fmt: skip
    return beside(pictures)


def beside(pictures: list[tuple[str, str]]) -> str:
    """Pictures next to each other under their captions, as one SVG."""
    width, parts, height = 0, [], 0
    for title, picture in pictures:
        head, _, tail = title.partition(": ")
        parts.append(
            f'<text class="heading" x="{width + 24}" y="14">{head}</text><text x="{width + 24}" y="31">{tail}</text>'
        )
        size = picture.split('viewBox="0 0 ')[1].split('"')[0].split()
        parts.append(picture.replace('<svg class="plot"', f'<svg x="{width}" y="40" height="{size[1]}"'))
        width, height = width + int(float(size[0])) + 20, max(height, int(float(size[1])) + 44)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">{STYLE}{"".join(parts)}</svg>\n'


def null_means(counts=(2, 3, 4, 6, 8, 12, 16), sets: int = 12) -> str:
    """Mean gap of groups that do not differ, against how many groups are compared."""
    lines = []
    for people, colour in ((30, "#d55e00"), (120, "#0072b2")):
        points = []
        for groups in counts:
            rows = [
                evaluate(*test_set(1000 + seed, groups, people, 10, 0.25), settings(groups, n_boot=2, n_perm=200))
                for seed in range(sets)
            ]
            gaps = pd.concat([t["gap_metrics"] for t in rows])
            gaps = gaps[gaps["criterion"] == "equal_opportunity_difference"]
            points.append((float(groups), float(gaps["null_mean"].mean())))
            print(f"{people} persons a group, {groups} groups: gap {gaps['value'].mean():.3f}, "
                  f"null mean {gaps['null_mean'].mean():.3f}, excess {gaps['excess'].mean():.4f}")  # fmt: skip
        lines.append((Series(f"{people} persons a group", colour, "circle"), points, False))
    plot = line_plot(
        "Gap of equal groups by number of groups", lines, x_label="number of groups compared",
        y_label="mean gap in TPR", y_span=(0.0, 0.2), width=420,
    )  # fmt: skip
    return beside([("Groups that do not differ: orange, 30 persons in each; blue, 120", plot)])


def verdicts() -> str:
    """One interval of every verdict against the practical threshold."""
    cases = {"gap": (0.16, 0.09, 0.24), "small gap": (0.07, 0.02, 0.12), "equivalent": (0.01, 0.0, 0.04),
             "inconclusive": (0.06, 0.0, 0.15)}  # fmt: skip
    dots = [Dot(name, COVERS, *values) for name, values in cases.items()]
    plot = dot_plot(
        "Verdicts", list(cases), dots, span=(0.0, 0.3), label="gap, 95 % interval; dashed: practical threshold", width=420,
        reference=0.05, reference_label="practical threshold",
    )  # fmt: skip
    return beside([("What an interval says: where it lies decides", plot)])


if __name__ == "__main__":
    for name, picture in (("intervals", intervals), ("null_means", null_means), ("verdicts", verdicts)):
        write_text(ROOT / f"docs/images/{name}.svg", picture())
