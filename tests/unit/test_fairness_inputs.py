"""Tables as notebooks bring them: the right numbers, or an error that names table, column, row, value and remedy."""

import logging

import numpy as np
import pandas as pd
import pytest

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate, evaluate_predictions, metric_frame
from evenface.fairness.inputs import THRESHOLD_COLUMNS
from evenface.storage.tables import write_table

N = 48
SETTINGS = FairnessSettings(groupings=("gender",), min_denominator=1, min_identities=1, n_boot=0, n_perm=0)
ZERO_ONE = SETTINGS.changed(label_coding="zero_one")


def tables():
    random = np.random.default_rng(3)
    ids = [f"i{k:02d}" for k in range(N)]
    return {
        "predictions": pd.DataFrame(
            {"image_id": ids, "identity_id": [f"p{k // 2}" for k in range(N)], "score_Smiling": random.random(N)}
        ),
        "labels": pd.DataFrame({"image_id": ids, "Smiling": random.permutation([-1, 1] * (N // 2))}),
        "groups": pd.DataFrame({"image_id": ids, "gender": random.permutation(["female", "male"] * (N // 2))}),
    }


def result(given, settings=SETTINGS):
    found = evaluate(given["predictions"], given["labels"], given["groups"], settings)
    return found["group_metrics"]


def column(table, name, change):
    """A case: the tables with one column changed."""

    def changed():
        given = tables()
        given[table] = given[table].assign(**{name: change(given[table][name])})
        return given

    return changed


def table(name, change):
    def changed():
        given = tables()
        given[name] = change(given[name])
        return given

    return changed


def decisions(change=lambda values: values):
    def changed(frame):
        decided = change((frame["score_Smiling"] >= 0.5).astype(int))
        return frame.drop(columns="score_Smiling").assign(pred_Smiling=decided)

    return table("predictions", changed)


def label(change):
    return column("labels", "Smiling", change)


def yes(values):
    return values == 1


SAME = {
    "nullable integers": (label(lambda v: v.astype("Int64")), SETTINGS),
    "floats": (label(lambda v: v.astype(float)), SETTINGS),
    "objects": (label(lambda v: v.astype(object)), SETTINGS),
    "arrow integers": (label(lambda v: v.astype("int8[pyarrow]")), SETTINGS),
    "arrow booleans, declared": (label(lambda v: yes(v).astype("bool[pyarrow]")), ZERO_ONE),
    "people as numbers": (column("predictions", "identity_id", lambda v: v.str[1:].astype(int)), SETTINGS),
    "people as floats": (column("predictions", "identity_id", lambda v: v.str[1:].astype(float)), SETTINGS),
    "arrow ids": (column("groups", "image_id", lambda v: v.astype("string[pyarrow]")), SETTINGS),
    "scores as texts of numbers": (column("predictions", "score_Smiling", lambda v: v.astype(str)), SETTINGS),
    "scores as arrow floats": (column("predictions", "score_Smiling", lambda v: v.astype("float[pyarrow]")), SETTINGS),
    "categories": (label(lambda v: v.astype("category")), SETTINGS),
    "zeros and ones, declared": (label(lambda v: yes(v).astype(int)), ZERO_ONE),
    "booleans, declared": (label(yes), ZERO_ONE),
    "nullable booleans, declared": (label(lambda v: yes(v).astype("boolean")), ZERO_ONE),
    "repeated labels of the index": (table("labels", lambda t: t.set_axis([7] * N)), SETTINGS),
    "index by image": (table("groups", lambda t: t.set_index("image_id", drop=False)), SETTINGS),
    "categorical groups": (column("groups", "gender", lambda v: v.astype("category")), SETTINGS),
    "people as categories": (column("predictions", "identity_id", lambda v: v.astype("category")), SETTINGS),
    "scores as nullable floats": (column("predictions", "score_Smiling", lambda v: v.astype("Float64")), SETTINGS),
    **{
        f"{name} in another order": (table(name, lambda t: t.sample(frac=1, random_state=1)), SETTINGS)
        for name in ("predictions", "labels", "groups")
    },
}


@pytest.mark.parametrize("case", SAME)
def test_other_types_and_orders_give_the_same_numbers(case):
    given, settings = SAME[case]
    pd.testing.assert_frame_equal(result(given(), settings), result(tables()))


@pytest.mark.parametrize(
    "change",
    [lambda v: v, lambda v: v.astype(bool), lambda v: v.astype("boolean"), lambda v: v.astype(float),
     lambda v: v.astype(object), lambda v: v.astype("category"), lambda v: v.astype(bool).astype(object)],
)  # fmt: skip
def test_decisions_of_every_type_are_those_of_the_scores(change):
    found, scored = (
        frame.drop(columns=[*THRESHOLD_COLUMNS]) for frame in (result(decisions(change)()), result(tables()))
    )
    pd.testing.assert_frame_equal(found, scored)


@pytest.mark.parametrize("kind", ["Int64", "float", "object", "category"])
@pytest.mark.parametrize("settings", [SETTINGS, ZERO_ONE])
def test_a_missing_label_is_undefined(kind, settings):
    def change(values):
        values = values if settings is SETTINGS else yes(values).astype(int)
        values = values.astype("Int64").mask(values.index == 4)
        return values.astype(kind, errors="raise") if kind != "object" else values.astype(object)

    found = result(label(change)(), settings)
    expected = result(label(lambda v: v.mask(v.index == 4, 0))())
    pd.testing.assert_frame_equal(found, expected)
    assert (found.query("metric == 'tpr'")["n_undefined"]).sum() == 1


def masked(values, what):
    return values.astype(object).mask(values.index == 4, what)


def moved_people():
    given = tables()
    people = given["predictions"].pop("identity_id")
    given["groups"] = given["groups"].assign(identity_id=people)
    return given


CODING = "label_coding is minus_one_one"
REFUSED = {
    "zeros and ones": (label(lambda v: yes(v).astype(int)), ["labels, row", "'Smiling'", "label 0", CODING, "'zero_one'"]),
    "int8": (label(lambda v: yes(v).astype(np.int8)), ["labels, row", "label 0", "'zero_one'"]),
    "floats": (label(lambda v: yes(v).astype(float)), ["labels, row", "label 0.0", "'zero_one'"]),
    "booleans": (label(yes), ["labels, row 1", "'Smiling'", "true or false", CODING, "'zero_one'"]),
    "nullable booleans": (
        label(lambda v: yes(v).astype("boolean").mask(v.index == 4)), ["labels, row 1", "true or false", "'zero_one'"],
    ),
    "booleans as objects": (label(lambda v: yes(v).astype(object)), ["true or false"]),
    "booleans as categories": (label(lambda v: yes(v).astype("category")), ["true or false"]),
    "booleans among numbers": (
        label(lambda v: pd.Series([True if x > 0 else False if k % 2 else -1 for k, x in enumerate(v)], dtype=object)),
        ["labels, row", "'Smiling'", "true or false", "'zero_one'"],
    ),
    "arrow booleans": (label(lambda v: yes(v).astype("bool[pyarrow]")), ["labels, row 1", "true or false", "'zero_one'"]),
    "texts of zero and one": (label(lambda v: yes(v).astype(int).astype(str)), ["labels, row 1", "(a text)", "'Smiling'"]),
    "texts as categories": (label(lambda v: v.astype(str).astype("category")), ["labels, row 1", "'-1' (a text)"]),
    "words": (label(lambda v: v.map({1: "yes", -1: "no"})), ["labels, row 1", "(a text)", "write the labels as these numbers"]),
    "infinite labels": (label(lambda v: v.astype(float).where(v.index != 3, np.inf)), ["labels, row 4", "inf", "'Smiling'"]),
    "complex labels": (label(lambda v: v.astype(complex)), ["labels, row 1", "'Smiling'", "complex"]),
    "half labels": (label(lambda v: v / 2), ["labels, row 1", "0.5", "-1, 0, 1"]),
    "texts": (label(lambda v: v.astype(str)), ["labels, row 1", "'-1' (a text)", "write the labels as these numbers"]),
    "wrapped integers": (label(lambda v: v.astype(np.uint8)), ["labels, row", "255"]),
    "two columns of an attribute": (
        table("labels", lambda t: t.assign(label_Smiling=-t["Smiling"])), ["labels", "label_Smiling and Smiling", "keep one"],
    ),
    "a label column with other capitals": (
        table("labels", lambda t: t.rename(columns={"Smiling": "smiling"})), ["labels", "Smiling", "same capitals"],
    ),
    "a score column with other capitals": (
        table("predictions", lambda t: t.assign(Score_Bald=0.5)), ["predictions", "'Score_Bald'", "score_<attribute>"],
    ),
    "scores that are decisions": (column("predictions", "score_Smiling", lambda v: v > 0.5), ["score_Smiling", "pred_Smiling"]),
    "decisions of -1": (decisions(lambda v: 2 * v - 1), ["predictions, row", "Smiling", "-1", "write 1 for yes and 0 for no"]),
    "decisions of 255": (
        decisions(lambda v: (2 * v - 1).astype(np.uint8)), ["row", "255", "'pred_Smiling'", "(table > 0) & (table < 255)"],
    ),
    "decisions as texts": (decisions(lambda v: v.astype(str)), ["row 1", "(a text)", "'pred_Smiling'", "write 1 for yes"]),
    "decisions as words": (decisions(lambda v: v.astype(bool).astype(str)), ["row 1", "(a text)", "'pred_Smiling'"]),
    "decisions that are probabilities": (decisions(lambda v: v * 0.7), ["0.7", "'pred_Smiling'", "score_Smiling"]),
    "a decision that is not a number": (decisions(lambda v: v.astype(float).where(v.index != 4)), ["row 5", "nan"]),
    "an arrow decision that is missing": (decisions(lambda v: v.astype("int64[pyarrow]").mask(v.index == 4)), ["row 5"]),
    **{
        f"scores {name}": (column("predictions", "score_Smiling", change), ["predictions", "'score_Smiling'", *words])
        for name, (change, words) in {
            "in percent": (lambda v: 100 * v, ["row 1", "in [0, 1]", "by 100"]),
            "in grey levels": (lambda v: (255 * v).astype(np.uint8), ["row 1", "by 255"]),
            "as logits": (lambda v: np.log(v / (1 - v)), ["row", "1 / (1 + exp(-x))"]),
            "from -1 to 1": (lambda v: 2 * v - 1, ["row", "(x + 1) / 2"]),
            "without a value": (lambda v: v.where(v.index != 4), ["row 5", "score nan", "predict this image again"]),
            "of nothing": (lambda v: pd.Series([None] * len(v)), ["row 1", "score nan", "predict this image again"]),
            "that are infinite": (lambda v: v.where(v.index != 4, np.inf), ["row 5", "score inf"]),
            "that are words": (lambda v: (v > 0.5).astype(str), ["not numbers", "write numbers in [0, 1]"]),
            "that are complex": (lambda v: v.astype(complex), ["not numbers"]),
            "that are lists": (lambda v: v.map(lambda x: [x]), ["not numbers"]),
            "with one truth": (lambda v: v.astype(object).mask(v.index == 4, True), ["row 5", "pred_Smiling"]),
            "as arrow truths": (lambda v: (v > 0.5).astype("bool[pyarrow]"), ["row 1", "pred_Smiling"]),
        }.items()
    },
    "columns of two levels": (
        table("predictions", lambda t: t.set_axis(pd.MultiIndex.from_product([["a"], t.columns]), axis=1)),
        ["predictions", "2 levels", "table.columns = "],
    ),
    "labels of two levels": (
        table("labels", lambda t: t.set_axis(pd.MultiIndex.from_product([t.columns, [""]]), axis=1)), ["labels", "2 levels"],
    ),
    "ids in an index of two levels": (
        table("predictions", lambda t: t.set_index(["image_id", "identity_id"])), ["'image_id' is missing", "reset_index()"],
    ),
    "a score without an attribute": (table("predictions", lambda t: t.assign(score_=0.5)), ["'score_'", "names no attribute"]),
    "scores under another name": (
        table("predictions", lambda t: t.rename(columns={"score_Smiling": "Smiling"})), ["predictions", "it has", "score_<"],
    ),
    "scores and decisions": (table("predictions", lambda t: t.assign(pred_Smiling=1)), ["score_Smiling and pred_Smiling"]),
    "people in another table": (
        lambda: moved_people(), ["predictions", "'identity_id' is missing", "groups has one", "people are resampled"],
    ),
    **{f"no rows in {name}": (table(name, lambda t: t[:0]), ["complete the table"]) for name in ("predictions", "labels", "groups")},
    "a missing decision": (decisions(lambda v: v.astype("boolean").mask(v.index == 4)), ["predictions, row 5", "<NA>"]),
    "ages in years": (
        table("groups", lambda t: t.assign(age=[31, *["young"] * (N - 1)])), ["groups, row 1", "'age'", "31", "young below 30"],
    ),
    "an age of -1": (table("groups", lambda t: t.assign(age=-1)), ["groups, row 1", "'age'", "-1", "unknown"]),
    "a year as age": (table("groups", lambda t: t.assign(age=2014)), ["groups, row 1", "'age'", "2014", "unknown"]),
    "codes of groups": (column("groups", "gender", lambda v: (v == "male").astype(int)), ["groups, row 1", "'gender'", "male"]),
    "booleans of groups": (column("groups", "gender", lambda v: v == "male"), ["groups, row 1", "'gender'", "male"]),
    "an empty id": (column("groups", "image_id", lambda v: masked(v, "")), ["groups, row 5", "image_id is empty"]),
    "a lost id": (column("labels", "image_id", lambda v: masked(v, "nan")), ["labels, row 5", "image_id is empty"]),
    "a lost person": (
        column("predictions", "identity_id", lambda v: masked(v, np.nan).astype(str)), ["predictions, row 5", "identity_id is empty"],
    ),
    "ids as index": (table("labels", lambda t: t.set_index("image_id")), ["labels", "'image_id' is missing", "reset_index()"]),
    "numbers and texts as ids": (
        column("labels", "image_id", lambda v: v.str[1:].astype(int)), ["labels, row 1", "no row in groups"],
    ),
    "a series": (table("labels", lambda t: t.set_index("image_id")["Smiling"]), ["labels", "DataFrame", "Series"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_its_place(case):
    given, words = REFUSED[case]
    settings = SETTINGS.changed(groupings=("gender", "age")) if "age" in given()["groups"] else SETTINGS
    with pytest.raises(UserError) as caught:
        result(given(), settings)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "twice"),
    [("predictions", "score_Smiling"), ("predictions", "identity_id"), ("predictions", "image_id"), ("labels", "Smiling"),
     ("labels", "image_id"), ("groups", "gender"), ("groups", "image_id")],
)  # fmt: skip
def test_repeated_columns_are_refused(name, twice):
    given = table(name, lambda t: pd.concat([t, t[[twice]]], axis=1))()
    with pytest.raises(UserError, match=f"{name}: column '{twice}' occurs more than once"):
        result(given)


def test_ids_of_another_type_are_named_as_such():
    given = tables()
    for name in given:
        given[name]["image_id"] = range(N)
    pd.testing.assert_frame_equal(result(given), result(tables()))
    given["labels"]["image_id"] = given["labels"]["image_id"].astype(str)
    with pytest.raises(UserError, match=r"labels, row 1: image_id '0' is str, and groups writes it as int.*astype"):
        result(given)


def test_tables_without_a_common_image_are_refused_even_if_images_may_be_missing():
    given = column("labels", "image_id", lambda v: "x" + v)()
    with pytest.raises(UserError, match="have no image in common"):
        result(given, SETTINGS.changed(allow_missing_images=True))


def test_the_remedy_for_zeros_and_ones_works():
    """The setting that the message names, and empty labels where 0 meant undefined."""
    ones = label(lambda v: yes(v).astype(int))()
    with pytest.raises(UserError, match="leave undefined labels empty"):
        result(ones)
    result(ones, ZERO_ONE)
    ones["labels"]["Smiling"] = ones["labels"]["Smiling"].astype("Int64").replace(0, pd.NA)
    found = result(ones).query("metric == 'tpr'")
    assert found["n_undefined"].sum() == N // 2


def test_models_with_other_people_are_not_compared():
    given = tables()
    frame = given["predictions"]
    swapped = frame.assign(identity_id=frame["identity_id"].to_numpy()[::-1])
    settings = SETTINGS.changed(baseline="real")
    for other in (swapped, frame.drop(columns="identity_id")):
        with pytest.raises(UserError, match="real-1 and new-1 have other values of identity_id"):
            evaluate({"real-1": frame, "new-1": other}, given["labels"], given["groups"], settings)
    shuffled = frame.sample(frac=1, random_state=1)
    evaluate({"real-1": frame, "new-1": shuffled}, given["labels"], given["groups"], settings)


@pytest.mark.parametrize("models", [{}, {1: None}])
def test_models_have_names_and_are_not_none(models):
    given = tables()
    models = {name: given["predictions"] for name in models}
    with pytest.raises(UserError, match="model"):
        evaluate(models, given["labels"], given["groups"], SETTINGS)


def test_people_that_are_all_empty_are_no_people():
    given = column("predictions", "identity_id", lambda v: [""] * len(v))()
    assert set(result(given)["cluster_unit"]) == {"image"}


def test_columns_that_are_not_used_are_named_once(caplog):
    given = tables()
    given["groups"] = given["groups"].assign(Ethnicity="asian", source="me")
    given["predictions"] = given["predictions"].assign(score_Bald=0.5)
    with caplog.at_level(logging.WARNING, "evenface"):
        pd.testing.assert_frame_equal(
            result(given).drop(columns="group_source"), result(tables()).drop(columns="group_source")
        )
    assert caplog.messages == [
        "groups: columns that are not used: Ethnicity",
        "predictions: not evaluated, because the labels have no column for them: Bald",
    ]


def test_a_fairlearn_table_is_checked_alike():
    pytest.importorskip("fairlearn")
    for case in ("zeros and ones", "booleans", "a lost id"):
        given, words = REFUSED[case]
        given = given()
        with pytest.raises(UserError, match=words[0]):
            metric_frame(given["predictions"], given["labels"], given["groups"], "Smiling", "gender", SETTINGS)


def test_tables_of_the_workflow_may_have_positive_and_undefined_labels_only(tmp_path):
    """Their int8 labels are coded as their header says; a table without that, or with int64, is checked."""
    given = tables()
    frame = given["predictions"].merge(given["groups"])
    frame["label_Smiling"] = yes(given["labels"]["Smiling"]).astype(np.int8)
    write_table(frame, tmp_path / "other.parquet", kind="predictions", meta={})
    with pytest.raises(UserError, match=r"other\.parquet, row .*'label_Smiling'.*'zero_one'"):
        evaluate_predictions({"real-1": tmp_path / "other.parquet"}, SETTINGS, {})
    write_table(frame, tmp_path / "own.parquet", kind="predictions", meta={"label_coding": "minus_one_one"})
    found = evaluate_predictions({"real-1": tmp_path / "own.parquet"}, SETTINGS, {})
    assert found["label_coverage"]["n_undefined"].sum() == N // 2
    meta = {"label_coding": "minus_one_one"}
    write_table(frame.astype({"label_Smiling": int}), tmp_path / "other.parquet", kind="predictions", meta=meta)
    with pytest.raises(UserError, match=r"other\.parquet, row .*'label_Smiling'.*'zero_one'"):
        evaluate_predictions({"real-1": tmp_path / "other.parquet"}, SETTINGS, {})


def test_an_image_that_a_second_file_has_twice_is_named(tmp_path):
    given = tables()
    frame = given["predictions"].merge(given["groups"])
    frame["label_Smiling"] = given["labels"]["Smiling"].astype(np.int8)
    write_table(frame, tmp_path / "1.parquet", kind="predictions", meta={"dataset": "d"})
    write_table(pd.concat([frame, frame[:1]]), tmp_path / "2.parquet", kind="predictions", meta={"dataset": "d"})
    with pytest.raises(UserError, match=r"2\.parquet, row 49: image_id 'i00' occurs a second time"):
        evaluate_predictions({"a-1": tmp_path / "1.parquet", "b-1": tmp_path / "2.parquet"}, SETTINGS, {})


# --- the same through files -----------------------------------------------------------------------


def stored(folder, given, name="1", **meta):
    """The tables as one table of predictions on disk."""
    frame = given["predictions"].merge(given["groups"], on="image_id")
    for attribute in given["labels"].columns.drop("image_id"):
        frame[f"label_{attribute}"] = given["labels"].set_index("image_id")[attribute].loc[frame["image_id"]].array
    write_table(frame, folder / f"{name}.parquet", kind="predictions", meta={"dataset": "d", **meta})
    return folder / f"{name}.parquet"


#: Cases about one column that a Parquet file can hold, with what a file says instead of the tables' names.
IN_FILES = [
    "zeros and ones", "int8", "floats", "booleans", "nullable booleans", "arrow booleans", "texts", "texts of zero and one",
    "words", "half labels", "wrapped integers", "infinite labels", "decisions of -1", "decisions of 255",
    "decisions as texts", "a missing decision", "a decision that is not a number", "scores in percent", "scores as logits",
    "scores without a value", "scores that are words", "scores as arrow truths", "a score without an attribute",
    "scores and decisions", "a lost person", "codes of groups", "booleans of groups",
]  # fmt: skip


@pytest.mark.parametrize("case", IN_FILES)
def test_files_are_refused_alike(case, tmp_path):
    given, words = REFUSED[case]
    path = stored(tmp_path, given())
    with pytest.raises(UserError) as caught:
        evaluate_predictions({"real-1": path}, SETTINGS, {})
    assert str(path) in str(caught.value)
    for word in words[1:]:
        assert word in str(caught.value).replace("'label_Smiling'", "'Smiling'").replace("None", "<NA>")


@pytest.mark.parametrize("case", [name for name in SAME if "index" not in name and "order" not in name])
def test_files_of_other_types_give_the_same_numbers(case, tmp_path):
    given, settings = SAME[case]
    found = evaluate_predictions({"model": stored(tmp_path, given())}, settings, {})["group_metrics"]
    own = evaluate_predictions({"model": stored(tmp_path, tables(), "own")}, SETTINGS, {})["group_metrics"]
    pd.testing.assert_frame_equal(found, own)


@pytest.mark.parametrize(
    ("thresholds", "says"),
    [({"Smiling": 0.0}, "greater than 0"), ({"Smiling": None}, "valid number"), ({"Smiling": 2}, "less than or equal to 1"),
     ({"Bald": 0.5}, "no entry for Smiling")],
)  # fmt: skip
def test_a_threshold_that_selects_everybody_or_is_none_names_its_file(tmp_path, thresholds, says):
    """A threshold was rounded to 0 by earlier versions."""
    path = stored(tmp_path, tables(), thresholds=thresholds)
    with pytest.raises(UserError, match=rf"1\.parquet.*{says}"):
        evaluate_predictions({"real-1": path}, SETTINGS, {})
    with pytest.raises(UserError, match=r"evaluation\.thresholds"):
        SETTINGS.changed(thresholds=0)


# --- models, seeds and runs -----------------------------------------------------------------------


def test_names_that_cannot_be_seeds_of_one_run_are_refused(tmp_path):
    given = tables()
    path = stored(tmp_path, given)
    for names in (("real", "real-1"), ("real-1", "real-01"), ("a-1", "a-\u0661")):
        with pytest.raises(UserError, match=r"are of one run.*other names"):
            evaluate(dict.fromkeys(names, given["predictions"]), given["labels"], given["groups"], SETTINGS)
        with pytest.raises(UserError, match=r"are of one run.*other names"):
            evaluate_predictions(dict.fromkeys(names, path), SETTINGS, {})
    with pytest.raises(UserError, match="a model id is empty"):
        evaluate({"": given["predictions"]}, given["labels"], given["groups"], SETTINGS)


def test_numbers_at_the_end_of_names_are_said_to_be_seeds(caplog):
    given = tables()
    models = dict.fromkeys(("resnet-50", "resnet-101"), given["predictions"])
    with caplog.at_level(logging.WARNING, "evenface"):
        evaluate(models, given["labels"], given["groups"], SETTINGS)
        assert "resnet-50, resnet-101 are read as 2 seeds of the run 'resnet'" in caplog.text
        caplog.clear()
        found = evaluate({f"{m}x": t for m, t in models.items()}, given["labels"], given["groups"], SETTINGS)
    assert not caplog.messages and set(found["fairness"]["aggregation"]) == {"one seed"}


def more(given):
    """The tables with a second attribute."""
    given["predictions"] = given["predictions"].assign(score_Bald=0.75)
    given["labels"] = given["labels"].assign(Bald=1)
    return given


@pytest.mark.parametrize("names", [("real-1", "real-2"), ("real-1", "new-1")])
@pytest.mark.parametrize("turned", [False, True])
def test_a_model_without_an_attribute_is_named_and_the_remedy_works(tmp_path, names, turned):
    few, many = tables(), more(tables())
    pair = [many, few] if turned else [few, many]
    settings = SETTINGS.changed(baseline="real") if names[1] == "new-1" else SETTINGS
    models = {name: one["predictions"] for name, one in zip(names, pair, strict=True)}
    files = {name: stored(tmp_path, one, name) for name, one in zip(names, pair, strict=True)}
    with pytest.raises(UserError, match=r"predictions of \S+ have no column score_Bald.*evaluation\.attributes"):
        evaluate(models, many["labels"], many["groups"], settings)
    with pytest.raises(
        UserError, match=rf"{names[turned]}\.parquet: column 'label_Bald' is missing.*evaluation\.attributes"
    ):
        evaluate_predictions(files, settings, {})
    settings = settings.changed(attributes=("Smiling",))
    for found in (
        evaluate(models, many["labels"], many["groups"], settings),
        evaluate_predictions(files, settings, {}),
    ):
        assert set(found["fairness"]["attribute"]) == {"Smiling"}


def test_seeds_that_are_missing_or_scored_other_images_are_named(tmp_path):
    given, fewer = tables(), table("predictions", lambda t: t[1:])()
    settings = SETTINGS.changed(baseline="real")
    three = dict.fromkeys(("real-1", "real-2", "new-1"), given["predictions"])
    with pytest.raises(
        UserError, match=r"run 'new-1' has the seeds 1, and the baseline 'real' has 1, 2.*training\.seeds"
    ):
        evaluate(three, given["labels"], given["groups"], settings)
    with pytest.raises(UserError, match=r"'new-1' has the seeds 1"):
        evaluate_predictions(dict.fromkeys(three, stored(tmp_path, given)), settings, {})
    two = {"real-1": given["predictions"], "real-2": fewer["predictions"]}
    files = {"real-1": stored(tmp_path, given, "a"), "real-2": stored(tmp_path, fewer, "b")}
    with pytest.raises(UserError, match="i00"):
        evaluate(two, given["labels"], given["groups"], SETTINGS)
    with pytest.raises(UserError, match="i00"):
        evaluate_predictions(files, SETTINGS, {})
    own = SETTINGS.changed(allow_missing_images=True)  # the images that all models scored
    for found in (evaluate(two, given["labels"], given["groups"], own), evaluate_predictions(files, own, {})):
        assert found["label_coverage"].groupby(["model_id", "grouping", "attribute"])["n_images"].sum().max() == len(
            fewer["predictions"]
        )


@pytest.mark.parametrize("kind", [int, float, str, "Int64", "int64[pyarrow]"])
def test_people_are_the_same_whatever_the_type_of_their_numbers(tmp_path, kind):
    given, other = tables(), tables()
    numbers = given["predictions"]["identity_id"].str[1:].astype(int)
    given["predictions"]["identity_id"] = numbers.astype(str)
    other["predictions"]["identity_id"] = numbers.astype(kind)
    models = {"real-1": given["predictions"], "new-1": other["predictions"]}
    settings = SETTINGS.changed(baseline="real")
    found = [evaluate(models, given["labels"], given["groups"], settings)]
    found.append(
        evaluate_predictions({m: stored(tmp_path, t, m) for m, t in zip(models, (given, other))}, settings, {})
    )
    for one in found:
        assert (one["model_comparison"].query("scope == 'gap'")["delta"].dropna() == 0).all()


def test_labels_of_other_types_are_the_same_test_set(tmp_path):
    given = tables()
    paths = {
        f"r{k}": stored(tmp_path, label(lambda v, kind=kind: v.astype(kind))(), str(k))
        for k, kind in enumerate((np.int8, float, "Int64", "category"))
    }
    found = evaluate_predictions(paths, SETTINGS, {})["fairness"]
    assert found.groupby(["attribute", "grouping", "criterion"])["value"].nunique().max() == 1
    given["labels"].loc[3, "Smiling"] *= -1
    with pytest.raises(UserError, match="image 'i03': label_Smiling differs between"):
        evaluate_predictions(paths | {"other": stored(tmp_path, given, "o")}, SETTINGS, {})


# --- what the specification gives a status --------------------------------------------------------


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize("minimum", [1, 10])
def test_a_group_of_one_or_two_people_gets_no_verdict(people, minimum):
    given = tables()
    female = given["groups"]["gender"] == "female"
    own = [f"f{k % people}" if woman else f"m{k}" for k, woman in enumerate(female)]
    given["predictions"]["identity_id"] = own
    settings = SETTINGS.changed(n_boot=50, n_perm=50, min_identities=minimum)
    found = evaluate(given["predictions"], given["labels"], given["groups"], settings)
    rates = found["group_metrics"].query("group == 'female' and metric == 'accuracy'")
    assert rates["ci_low"].isna().all() or people == 2
    assert set(rates["status"]) == {"low_support" if minimum == 10 else "unstable_bootstrap"}
    levels = found["gap_metrics"]["verdict"] != ""
    assert set(found["gap_metrics"].loc[levels, "verdict"]) == {"not_evaluable"}


@pytest.mark.parametrize("which", ["one attribute", "one group", "all"])
def test_undefined_labels_have_a_status_and_no_number(which):
    given = more(tables())
    group = given["groups"]["gender"] == "male"
    if which == "one group":
        given["labels"].loc[group, "Smiling"] = 0
    else:
        given["labels"]["Smiling"] = 0
    if which == "all":
        given["labels"]["Bald"] = np.nan
    found = evaluate(given["predictions"], given["labels"], given["groups"], SETTINGS.changed(n_boot=20, n_perm=20))
    rows = found["group_metrics"].query(
        "attribute == 'Smiling' and metric in ('tpr', 'fpr', 'accuracy', 'f1', 'base_rate')"
    )
    rows = rows[rows["group"] == "male"] if which == "one group" else rows
    assert rows["value"].isna().all() and set(rows["status"]) == {"no_denominator"}
    gaps = found["fairness"].query("attribute == 'Smiling'")
    assert gaps["value"].isna().all() and set(gaps["status"]) == {"too_few_groups"}
    assert set(gaps["verdict"]) == {"not_evaluable"} and gaps["p_value"].isna().all()
    other = found["fairness"].query("attribute == 'Bald' and criterion == 'accuracy_gap'")
    assert other["value"].isna().all() == (which == "all")


@pytest.mark.parametrize("groups", ["unknown", None, "female"])
def test_a_grouping_without_two_groups_has_a_status(groups):
    given = column("groups", "gender", lambda v: [groups] * len(v))()
    found = evaluate(given["predictions"], given["labels"], given["groups"], SETTINGS)["fairness"]
    assert found["value"].isna().all() and set(found["status"]) == {"too_few_groups"}


def test_an_empty_table_of_predictions_has_nothing_in_common():
    given = table("predictions", lambda t: t[:0])()
    with pytest.raises(UserError, match=r"predictions and labels have no image in common.*has no row"):
        result(given, SETTINGS.changed(allow_missing_images=True))


@pytest.mark.parametrize("alpha", [0, 1])
def test_a_weight_of_both_errors_weighs_both(alpha):
    with pytest.raises(UserError, match=f"evaluation.alpha is {alpha}; it must be"):
        FairnessSettings(alpha=alpha)
