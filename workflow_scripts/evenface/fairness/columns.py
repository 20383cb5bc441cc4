"""What every column of the fairness tables says; docs/tables.md is made from this."""

from __future__ import annotations

from collections.abc import Mapping

from evenface.fairness.comparison_table import COMPARISON_COLUMNS
from evenface.fairness.gap_tables import GAP_COLUMNS
from evenface.fairness.group_tables import COVERAGE_COLUMNS, GROUP_COLUMNS, PAIRWISE_COLUMNS
from evenface.fairness.intersection_table import INTERSECTION_COLUMNS
from evenface.fairness.multiplicity import VERDICTS
from evenface.fairness.planning import POWER_COLUMNS
from evenface.fairness.representation import ATTRIBUTE_COLUMNS, REPRESENTATION_COLUMNS
from evenface.fairness.score_tables import CALIBRATION_COLUMNS, SCORE_COLUMNS, SCORE_GAP_COLUMNS
from evenface.fairness.subgroup_scan import SCAN_COLUMNS
from evenface.fairness.summary import SUMMARY_COLUMNS
from evenface.fairness.threshold_curves import CURVE_COLUMNS, CURVE_GAP_COLUMNS

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
    "intersections": (
        "A row per run, attribute, grouping by several dimensions, group and rate: the rate as measured, and as estimated with "
        "the help of the other groups. A run with several seeds is evaluated on all of them together.",
        INTERSECTION_COLUMNS,
    ),
    "subgroup_scan": (
        "A row per run, attribute, rate and subgroup by any combination of dimensions: its difference from everyone else, with "
        "bounds that hold for all subgroups of an attribute and a rate at once.",
        SCAN_COLUMNS,
    ),
    "score_metrics": (
        "A row per network, or run with several seeds, attribute, grouping, group and metric of scores: `auc` (area under the "
        "ROC curve), `eer` (equal error rate), `ece` (expected calibration error), `signed_calibration_error` (mean score "
        "minus share of positives) and `brier_score`.",
        SCORE_COLUMNS,
    ),
    "score_gaps": (
        "A row per network, or run with several seeds, attribute, grouping and metric of scores: how far the groups are apart.",
        SCORE_GAP_COLUMNS,
    ),
    "calibration": (
        "Reliability data: a row per network, attribute, grouping, group and bin of scores that has images of the group.",
        CALIBRATION_COLUMNS,
    ),
    "threshold_curves": (
        "A row per run (the mean of its seeds), attribute, grouping, group and threshold, of `evaluation.curve_thresholds` "
        "and the run's own.",
        CURVE_COLUMNS,
    ),
    "threshold_gaps": (
        "A row per run, attribute, grouping and threshold: how far the used groups' rates are apart.",
        CURVE_GAP_COLUMNS,
    ),
}

#: likewise, of what faces tables say before there are predictions
PLANS: dict[str, tuple[str, list[str]]] = {
    "power": (
        "A row per attribute, grouping and gap: what the test set can see, before anything is trained.",
        POWER_COLUMNS,
    ),
    "representation": (
        "A row per data set or generated set, split and grouping: how evenly the declared levels are represented.",
        REPRESENTATION_COLUMNS,
    ),
    "attribute_by_group": (
        "A row per set, split, attribute, grouping and group: how often the group has the attribute, by the set's labels.",
        ATTRIBUTE_COLUMNS,
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
    "uncertain), `simultaneous` (all pairs of groups at once), `simultaneous_conservative` (from the intervals of parts). "
    "Empty without an interval.",
    "se": "Standard error: the jackknife that leaves out one person at a time. Empty if one person carries the rate.",
    "design_effect": "Variance over that of as many independent images; how much alike a person's images are. Empty for "
    "metrics that are not shares of images.",
    "numerator": "Images in the rate's numerator.",
    "denominator": "Images in the rate's denominator.",
    "n_images": "Images of the group.",
    "fairness.n_images": "Images in the denominators that the criterion rests on, over the groups that are used.",
    "n_identities": "People with an image in the denominator.",
    "label_coverage.n_identities": "People of the group.",
    "fairness.n_identities": "People with an image in the denominators that the criterion rests on.",
    "score_metrics.n_identities": "People with an image; for `auc` and `eer`, of the class with fewer.",
    "score_metrics.n_images": "Images whose label is defined.",
    "calibration.n_images": "Images of the group in the bin.",
    "n_positive": "Positive images of the group.",
    "n_negative": "Negative images of the group.",
    "n_eff": "Effective number of people: how many of equal weight would say as much, (sum d)^2 / sum d^2.",
    "n_defined": "Images whose label is defined.",
    "n_undefined": "Images whose label is undefined.",
    "label_coverage": "Share of images whose label is defined.",
    "threshold": "Scores at least as large are decisions for yes; empty where the table gave decisions, or seeds differ.",
    "threshold_low": "Lower end of the interval of a threshold chosen on validation images; empty for a fixed one.",
    "threshold_high": "Upper end.",
    "n_validation": "Validation images on which the threshold was chosen; empty for a fixed one.",
    "score_metrics.threshold": "Of `eer`: the score at which false positive and false negative rate are nearest.",
    "threshold_curves.threshold": "Scores at least as large are decisions for yes; empty for `own_threshold` if seeds differ.",
    "threshold_gaps.threshold": "As in `threshold_curves`.",
    "own_threshold": "Whether it is the model's own threshold; of several seeds, each one's own.",
    "label_source": "Where the labels come from.",
    "group_source": "Where the groups come from.",
    "group_correction": "Empty, or `confusion_inverse`: corrected for the errors of the annotator that assigned the groups. "
    "Counts of images and people stay those of the assigned groups.",
    "sensitivity_low": "Lowest value of a corrected gap if the odds of the annotator's errors differ 2-fold between right and "
    "wrong answers, in any groups; empty where counts by outcome are given.",
    "sensitivity_high": "Highest value, likewise.",
    "errors_p_value": "Of the test that the annotator's errors do not depend on the outcome; empty without counts by outcome.",
    "errors_verdict": "`untested`, `no_dependence_found` or `errors_depend_on_outcome`; empty for measured rows.",
    "cluster_unit": "What is drawn: `identity`, or `image` where people are unknown.",
    "n_boot": "Bootstrap replicates of people.",
    "n_boot_valid": "Replicates in which the value is defined.",
    "n_perm": "Permutations in which the value is defined.",
    "null_mean": "Mean of the criterion where groups do not differ: people are permuted over groups. It knows no luck of training.",
    "excess": "How much farther from equal treatment the value is than `null_mean`.",
    "p_value": "Of the test that groups do not differ. Criteria of the same rates share it.",
    "model_comparison.p_value": "Of the test that the gap did not change: 1 minus the level of the interval that just touches 0.",
    "p_method": "How p was computed: `perm_identity` (people are permuted), `perm_identity_exact` (all assignments), "
    "`simultaneous_inverted` (over 5 % of images are in another group than most of their person, or outcomes have matrices "
    "of their own: the level at which the first pair's interval touches 0); with `_within_<dimensions>` people are permuted within levels.",
    "model_comparison.p_method": "How p was computed: `interval_people`, or `interval_people_and_seeds`, from the interval.",
    "q_value": "p after Benjamini and Hochberg's correction within the family.",
    "family": "The tests that are corrected together: one model, grouping and criterion, all attributes.",
    "family_size": "Tests in the family.",
    "q_value_all": "p after the same correction over all attributes, groupings and criteria of the model. Criteria that test "
    "the same count once.",
    "model_comparison.q_value_all": "p after the same correction over all attributes, groupings and criteria of the run.",
    "family_size_all": "Tests in this correction.",
    "shrunken": "The rate, estimated with the help of the other groups; in [0, 1].",
    "shrunken_low": "Lower end of its interval, which holds on average over groups.",
    "shrunken_high": "Upper end.",
    "basis": "What the estimate rests on: `shrunken` (the group's own people and the other groups), `prediction` (no image of "
    "the group counts, only its levels are known), `unknown_effect` (a level occurs in no image; nothing can be estimated).",
    "weight": "Share of the measured rate in the estimate, on the logit scale; the rest is the sum of the levels' effects.",
    "tau": "Standard deviation of the groups' own deviations from the sum of effects, on the logit scale.",
    "order": "How many dimensions the subgroup combines.",
    "subgroup": "The levels of the subgroup, such as `female|young`.",
    "others": "The rate of everyone else.",
    "subgroup_scan.difference": "The subgroup's rate minus that of everyone else.",
    "low": "Lower bound of the difference, for all subgroups at once.",
    "high": "Upper bound.",
    "low_one_sided": "Lower bound without an upper one.",
    "high_one_sided": "Upper bound without a lower one.",
    "n_subgroups": "Subgroups that the bounds hold for at once.",
    "flagged": "Whether the bounds leave out 0: a difference exists. Empty without bounds.",
    "certified": "Whether the bounds lie within the practical threshold on both sides of 0.",
    "worst": "Whether this subgroup is treated worst of those with bounds; of the selection rate, whether it differs most.",
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
    "detectable_gap": "The value of the criterion nearest to equal treatment that the test set would surely see: with the "
    "chance `evaluation.power`, between any two of its groups. From the row's standard errors, not from its value.",
    "resolvable": "Whether a gap as large as the practical threshold would be seen: `resolvable`, or `not resolvable`. Empty "
    "without a test, for levels of rates and for Gini coefficients.",
    "score_metrics.value": "The metric.",
    "score_gaps.value": "Highest minus lowest value of the groups that are used; ECEs without their bias.",
    "bias": "Of `ece`: by how much few images make it too large, estimated.",
    "score_metrics.metric": "The metric of scores.",
    "score_gaps.metric": "The metric of scores.",
    "score_gaps.criterion": "The metric with `_difference`.",
    "score_gaps.aggregation": "`difference`.",
    "score_metrics.se": "Standard error: the jackknife over people. Empty if one person carries the value.",
    "score_metrics.ci_method": "`logit_student_identities` (Student's t on the logit scale), `student_identities` (Student's t) "
    "or `folded_normal` (of sums of absolute values). Empty without an interval.",
    "score_gaps.ci_method": "`simultaneous`: from intervals of all pairs of groups at once.",
    "score_gaps.null_mean": "Mean gap of groups that do not differ and have these standard errors.",
    "score_gaps.p_method": "`simultaneous_inverted`: p is the level at which the first pair's interval touches 0.",
    "score_gaps.n_boot": "Draws for the critical value.",
    "score_gaps.seed": "The seed of the draws.",
    "calibration.ci_method": "`wilson_identities`: Wilson's interval for as many independent images as would be as uncertain.",
    "threshold_curves.ci_method": "`wilson_identities`: Wilson's interval for as many independent images as would be as uncertain.",
    "bin": "Number of the bin. Bins hold equally many images of the whole test set, with ties in the higher bin.",
    "score_from": "Lowest score of the bin.",
    "score_to": "Where the next bin begins.",
    "mean_score": "Mean score of the images.",
    "positive_rate": "Share of positive images; the interval is its.",
    **{
        f"threshold_curves.{rate}{end}": text
        for rate, name in (
            ("tpr", "True positive rate"),
            ("fpr", "False positive rate"),
            ("selection_rate", "Share of decisions for yes"),
            ("accuracy", "Share of right decisions"),
        )
        for end, text in (("", f"{name}."), ("_low", "Lower end of its interval."), ("_high", "Upper end."))
    },
    **{
        f"{rate}_difference": f"Highest minus lowest `{rate}`." for rate in ("tpr", "fpr", "selection_rate", "accuracy")
    },
    "equalized_odds_difference_worst": "The larger of the differences of `tpr` and `fpr`.",
    "equalized_odds_difference_mean": "Their mean.",
    "fair_value": "The criterion's value for equal treatment.",
    "status": "Why a value or interval is missing: `circular` (the attribute says the same as the grouping), "
    "`no_denominator` (nothing to divide by), `low_support` (too few images or people; left out of gaps), "
    "`too_few_groups` (fewer than two are used), `unstable_bootstrap` (undefined in more than a tenth of the replicates), "
    "`all_zero`, `zero_rate`, `infinite` (rates of 0 under a ratio), `correction_failed`, `no_scores` (the table gave "
    "decisions only). Empty if nothing is wrong.",
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
    "worst_group_metric": "The rate whose worst group is followed.",
    "worst_group_baseline": "The worst group's rate of the baseline.",
    "worst_group_delta": "Change of the worst group's rate.",
    "worst_group_ci_low": "Lower end of its interval.",
    "worst_group_ci_high": "Upper end.",
    "levelling_down": "Whether the gap is smaller and the worst group is worse, by more than its interval.",
    **{
        f"{table}.{name}": text
        for table in ("representation", "attribute_by_group")
        for name, text in {
            "dataset": "The data set, or the generator of the set.",
            "split": "`train`, `val` or `test`; `all` is the whole set.",
            "images": "Images of the group; of a grouping, those with known levels.",
            "people": "People in them.",
        }.items()
    },
    "representation.levels": "Declared groups: all combinations of the declared levels, whether they occur or not.",
    "representation.levels_seen": "Groups that occur.",
    "representation.unknown": "Images that belong to no group, because a level is unknown.",
    "representation.n_eff": "Effective people: independent images that say as much about the shares.",
    **{
        f"representation.{name}{end}": f"{bound}{text}"
        for name, text in {
            "shannon": "Shannon's index, -sum p ln p over the groups' shares p of images.",
            "shannon_evenness": "Shannon's index divided by its largest value, ln of the number of groups.",
            "simpson": "Simpson's index, 1 / sum p^2: how many equally large groups would be as diverse.",
            "simpson_evenness": "Simpson's index divided by the number of groups.",
        }.items()
        for end, bound in {"": "", "_low": "Lower bound (95 %) of: ", "_high": "Upper bound (95 %) of: "}.items()
    },
    "representation.smallest_group": "The group with the fewest images.",
    "representation.smallest_share": "Its share of the images.",
    "representation.largest_group": "The group with the most images.",
    "representation.largest_share": "Its share of the images.",
    "attribute_by_group.attribute": "The attribute.",
    "attribute_by_group.labelled": "Images of the group whose label is defined.",
    "attribute_by_group.share": "Share of them that have the attribute.",
    "attribute_by_group.low": "Lower bound of its 95 % Wilson interval over effective people.",
    "attribute_by_group.high": "Upper bound.",
    "attribute_by_group.overall": "The same share in all groups together.",
    "attribute_by_group.difference": "`share` minus `overall`.",
    "power.attribute": "What a network is to predict.",
    "power.criterion": "The gap that is planned for.",
    "n_groups": "Groups with enough images and people.",
    "hardest_groups": "The two groups that say least; the first one says least of all.",
    "people": "People of the first of them with images that count.",
    "power.n_eff": "Effective people among them: (sum of d)^2 / sum of d^2, with d a person's images that count.",
    "images": "Their images that count: those with the label that the rate is about.",
    "base_rate": "Share of positive labels in all groups.",
    "rate": "Assumed rate of the best group, or that of an earlier run.",
    "person_sd": "Assumed standard deviation of people's rates on the logit scale, or that of an earlier run.",
    "intraclass": "Correlation of two images of a person that follows from both.",
    "level": "Level of the test: 0.05 shared by the attributes of the family.",
    "power": "The chance with which a gap or change is to be seen.",
    "power.detectable_gap": "The smallest gap between any two groups that is seen; empty if none is.",
    "gap": "The gap that is asked for.",
    "power.resolvable": "Whether it is seen: `resolvable`, or `not resolvable`.",
    "people_needed": "People per group, if all groups have as many, that show it; empty if no number does.",
    "power.change": "The change of a method's gap that is asked for.",
    "power.variance_people": "Assumed variance of the change from the choice of people, or that of an earlier run.",
    "power.variance_training": "Assumed variance of the change between seeds, or that of an earlier run.",
    "seeds_needed": "The least number of seeds per run that shows the change; empty if no number does.",
    "least_seeds": "The same, with as many people as one likes.",
    "power.n_seeds": "Seeds per run, for the next column.",
    "times_as_many_people": "How many times as many people show the change with these seeds; empty if no number does.",
    "power.status": "Why nothing is planned: `circular`, `no_denominator`, `too_few_groups`. Empty if nothing is wrong.",
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
    for name, (row, columns) in (TABLES | PLANS).items():
        place = f"results/{'' if name in ('fairness', *PLANS) else 'fairness/'}{name}.csv"
        text += [f"## {place}\n", f"{row}\n", "| column | meaning |\n|---|---|"]
        text += [f"| `{column}` | {meaning(name, column).replace('|', chr(92) + '|')} |" for column in columns]
        text[-1] += "\n"
    return "\n".join(text)
