"""What every column of the fairness tables says; docs/tables.md is made from this."""

from __future__ import annotations

from collections.abc import Mapping

from evenface.fairness.comparison_table import COMPARISON_COLUMNS
from evenface.fairness.gap_tables import GAP_COLUMNS
from evenface.fairness.group_tables import COVERAGE_COLUMNS, GROUP_COLUMNS, PAIRWISE_COLUMNS
from evenface.fairness.multiplicity import VERDICTS
from evenface.fairness.summary import SUMMARY_COLUMNS

#: table -> what a row of it is, and its columns
TABLES: dict[str, tuple[str, list[str]]] = {
    "fairness": (
        "A row per network, or run with several seeds, attribute, grouping and criterion of `evaluation.summary`. It "
        "answers most questions; the others hold the details.",
        SUMMARY_COLUMNS,
    ),
    "group_metrics": ("A row per network, attribute, grouping, group and rate.", GROUP_COLUMNS),
    "gap_metrics": ("A row per network, attribute, grouping and criterion: all of them.", GAP_COLUMNS),
    "pairwise_differences": ("A row per network, attribute, grouping, rate and pair of groups.", PAIRWISE_COLUMNS),
    "model_comparison": (
        "A row per run that is not the baseline, attribute, grouping, and rate of a group (`scope` group) or criterion "
        "(`scope` gap): what changed against the baseline.",
        COMPARISON_COLUMNS,
    ),
    "label_coverage": (
        "A row per network, attribute, grouping and group: how many labels are defined.",
        COVERAGE_COLUMNS,
    ),
}

#: column -> its meaning; where tables differ, the entry of the table comes first
COLUMNS: Mapping[str, str] = {
    "dataset": "The test set.",
    "split": "The part of the test set, usually `test`.",
    "model": "The run.",
    "run_id": "The run.",
    "model_id": "The run and its seed, such as `real-1`; of rows over seeds, the run.",
    "seed": "The seed of the training; empty over seeds.",
    "gap_metrics.seed": "The seed of the draws.",
    "group_metrics.seed": "The seed of the draws.",
    "aggregation": "`one seed`, or `over seeds`: of rates averaged over the run's seeds.",
    "gap_metrics.aggregation": "How the rates of groups become one number: `difference`, `ratio`, `worst_group` and so on.",
    "attribute": "What the network predicts.",
    "grouping": "The dimensions that make the groups, such as `gender*age`.",
    "group": "The levels of a group, such as `female|young`.",
    "group_a": "The first group; `difference` is its rate minus that of `group_b`.",
    "group_b": "The second group.",
    "metric": "The rate; of a criterion, the rate that decides its worst and best group.",
    "criterion": "The criterion; `docs/statistics.md` explains them.",
    "metric_or_criterion": "The rate of a group, or the criterion of a gap.",
    "scope": "`group` for the rate of a group, `gap` for a criterion.",
    "alpha": "Weight of false positives, in criteria that have one.",
    "value": "The rate, or the criterion's value.",
    "difference": "Rate of `group_a` minus rate of `group_b`.",
    "ci_low": "Lower end of the interval.",
    "ci_high": "Upper end of the interval.",
    "ci_level": "Level of the interval.",
    "ci_method": "How the interval was made: `binomial_identities` (as many independent people as would make the rate as "
    "uncertain), `simultaneous` (all pairs of groups at once), `simultaneous_conservative` (from the intervals of parts), "
    "`percentile` (of replicates). Empty without an interval.",
    "se": "Standard error: the jackknife that leaves out one person at a time. Empty if one person carries the rate.",
    "design_effect": "Variance over that of as many independent images; how much alike a person's images are. Empty for "
    "metrics that are no shares of images.",
    "numerator": "Images in the rate's numerator.",
    "denominator": "Images in the rate's denominator.",
    "n_images": "Images of the group.",
    "fairness.n_images": "Images in the denominators that the criterion rests on, over the groups that are used.",
    "n_identities": "People with an image in the denominator.",
    "label_coverage.n_identities": "People of the group.",
    "fairness.n_identities": "People with an image in the denominators that the criterion rests on.",
    "n_eff": "Effective number of people: how many of equal weight would say as much, (sum d)^2 / sum d^2.",
    "n_defined": "Images whose label is defined.",
    "n_undefined": "Images whose label is undefined.",
    "label_coverage": "Share of images whose label is defined.",
    "threshold": "Scores at least as large are decisions for yes; empty where the table gave decisions, or seeds differ.",
    "label_source": "Where the labels come from.",
    "group_source": "Where the groups come from.",
    "group_correction": "Empty, or `confusion_inverse`: corrected for the errors of the annotator that assigned the groups.",
    "cluster_unit": "What is drawn: `identity`, or `image` where people are unknown.",
    "n_boot": "Bootstrap replicates of people.",
    "n_boot_valid": "Replicates in which the value is defined.",
    "n_perm": "Permutations in which the value is defined.",
    "null_mean": "Mean of the criterion where groups do not differ: people are permuted over groups. It knows no luck of training.",
    "excess": "How much farther from equal treatment the value is than `null_mean`.",
    "p_value": "Of the test that groups do not differ. Criteria of the same rates share it.",
    "model_comparison.p_value": "Of the test that the gap did not change: 1 minus the level of the interval that just touches 0.",
    "p_method": "How p was computed: `perm_identity` (people are permuted), `perm_identity_exact` (all assignments), "
    "`wald_jackknife` (over 5 % of images are in another group than most of their person); with `_within_<dimensions>` people are permuted within levels.",
    "model_comparison.p_method": "How p was computed: `interval_people`, or `interval_people_and_seeds`, from the interval.",
    "q_value": "p after Benjamini and Hochberg's correction within the family.",
    "family": "The tests that are corrected together: one model, grouping and criterion, all attributes.",
    "family_size": "Tests in the family.",
    "overall": "The rate of all images of the groups that are used.",
    "overall_rate": "The rate of all images of the groups that are used.",
    "group_max": "The group with the highest rate.",
    "group_min": "The group with the lowest rate.",
    "worst_group": "The group that is treated worst; of a rate without a better direction, the lowest.",
    "worst_rate": "Its rate.",
    "best_group": "The group that is treated best.",
    "best_rate": "Its rate.",
    "n_groups_used": "Groups with enough images and people.",
    "n_groups_excluded": "Groups without.",
    "groups_excluded": "Their names.",
    "model_comparison.n_groups_used": "Groups with enough images and people in both runs and all seeds; only these are compared.",
    "label_robust": "Whether the gap exists for all values of undefined labels: one group's lower bound is above another's "
    "upper bound.",
    "sure_for_any_labels": "Where a gap would be claimed: the distance from equal treatment that is sure, with confidence "
    "limits, for any values of undefined labels.",
    "practical_threshold": "The distance from equal treatment that matters, by `evaluation.practical_threshold` or "
    "`practical_ratio_threshold`.",
    "verdict": "What the row may claim: " + "; ".join(f"`{name}`: {text}" for name, text in VERDICTS.items()) + ".",
    "fair_value": "The criterion's value for equal treatment.",
    "status": "Why a value or interval is missing: `circular` (the attribute says the same as the grouping), "
    "`no_denominator` (nothing to divide by), `low_support` (too few images or people; left out of gaps), "
    "`too_few_groups` (fewer than two are used), `unstable_bootstrap` (undefined in more than a tenth of the replicates), "
    "`all_zero`, `zero_rate`, `infinite` (rates of 0 under a ratio), `correction_failed`. Empty if nothing is wrong.",
    "n_seeds": "Seeds of the run.",
    "seed_mean": "Mean of the seeds' own values. The luck of each training adds to it.",
    "seed_std": "Standard deviation of the seeds' own values.",
    "model_comparison.seed_mean": "Mean of the seeds' own changes.",
    "model_comparison.seed_std": "Standard deviation of the seeds' own changes.",
    "baseline": "The run that others are compared with.",
    "model_comparison.baseline": "Its value, over the groups that both runs use.",
    "baseline_value": "Its value, over the groups that both runs use; of a single seed, its network of the same seed.",
    "candidate": "The run's value, over the groups that both runs use.",
    "change": "The run's value minus the baseline's, over the groups that both use.",
    "change_ci_low": "Lower end of the interval of the change.",
    "change_ci_high": "Upper end.",
    "baseline_model_id": "The baseline.",
    "candidate_model_id": "The run that is compared with it.",
    "claim": "What the row is about: `this network` (one seed), or `method` (several).",
    "delta": "Candidate minus baseline.",
    "delta_corrected": "`delta` without the estimated bias of both gaps.",
    "variance_people": "Variance of the change from the choice of people.",
    "variance_training": "Variance from the choice of seeds, s^2 / S; empty with one seed.",
    "freedom": "Degrees of freedom of both together.",
    "would_help": "What would narrow an interval that decides nothing: `more seeds`, `more people`; `neither` if it decides.",
    "worst_group_delta": "Change of the worst group's rate.",
    "worst_group_ci_low": "Lower end of its interval.",
    "worst_group_ci_high": "Upper end.",
    "levelling_down": "Whether the gap is smaller and the worst group is worse, by more than its interval.",
    **{
        f"{metric}_{end}": f"{word} bound of the rate `{metric}` for any values of undefined labels."
        for metric in ("tpr", "fpr", "accuracy", "base_rate", "prevalence_bias", "precision", "npv", "f1")
        for end, word in (("low", "Lower"), ("high", "Upper"))
    },
}


def meaning(table: str, column: str) -> str:
    """The meaning of a column of a table."""
    return COLUMNS.get(f"{table}.{column}") or COLUMNS[column]


def page() -> str:
    """docs/tables.md."""
    text = [
        "# Columns of the fairness tables\n",
        "`results/fairness.csv` and the files of `results/fairness/`. Undefined values are empty fields. "
        "[statistics.md](statistics.md) explains the statistics.\n",
        "This page is made by `python -m evenface config tables` from `workflow_scripts/evenface/fairness/columns.py`.\n",
    ]
    for name, (row, columns) in TABLES.items():
        place = f"results/{'' if name == 'fairness' else 'fairness/'}{name}.csv"
        text += [f"## {place}\n", f"{row}\n", "| column | meaning |\n|---|---|"]
        text += [f"| `{column}` | {meaning(name, column).replace('|', chr(92) + '|')} |" for column in columns]
        text[-1] += "\n"
    return "\n".join(text)
