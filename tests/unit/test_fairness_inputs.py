"""Tables as notebooks bring them: the right numbers, or an error that names table, column, row, value and remedy."""

import logging

import numpy as np
import pandas as pd
import pytest

from evenface.errors import UserError
from evenface.fairness import FairnessSettings, evaluate, evaluate_predictions, metric_frame
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
    found = result(decisions(change)())
    pd.testing.assert_frame_equal(found.drop(columns="threshold"), result(tables()).drop(columns="threshold"))


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
    """Their int8 labels are coded as declared; a table of another program with int64 is checked."""
    given = tables()
    frame = given["predictions"].merge(given["groups"])
    frame["label_Smiling"] = yes(given["labels"]["Smiling"]).astype(np.int8)
    write_table(frame, tmp_path / "own.parquet", kind="predictions", meta={})
    found = evaluate_predictions({"real-1": tmp_path / "own.parquet"}, SETTINGS, {})
    assert found["label_coverage"]["n_undefined"].sum() == N // 2
    write_table(frame.astype({"label_Smiling": int}), tmp_path / "other.parquet", kind="predictions", meta={})
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
