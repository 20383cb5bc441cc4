"""What a group means: one table of demographics in use, and no photograph labelled by what learned from renderings."""

import itertools
import logging

import numpy as np
import pandas as pd
import pytest
import yaml

from evenface import parts
from evenface.audit.annotation import write_comparison
from evenface.configuration import check_config
from evenface.configuration.domains import accepted_shifts
from evenface.datasets import read
from evenface.datasets.synthetic import demographics_in_use, find_demographics, write_demographics
from evenface.errors import UserError
from evenface.plan.generators import source_in_words
from evenface.plan.overview import overview
from evenface.plan.shards import build_plans
from evenface.report.contact_sheet import ANY_HAIR, choose_faces, write_contact_sheet
from evenface.screening.summary import write_acceptance
from evenface.storage.images import encode_png, read_image
from evenface.storage.shards import write_shard
from evenface.storage.tables import read_table, write_table
from evenface.taxonomy import DIMENSIONS, HAIR_COLOURS
from evenface.training import compose
from evenface.training.composition import draw_balanced, groups_in_use

LEVELS = list(DIMENSIONS)
CELLS = [dict(zip((*LEVELS, "hair"), cell)) for cell in itertools.product(*DIMENSIONS.values(), HAIR_COLOURS)]


# --- draws ---


def pool(count, shares=(0.095, 0.045, 0.86), source="trained_here"):
    """Faces of a generator that ignores prompts: planned cells are equally frequent, and ethnicities are not."""
    random = np.random.default_rng(4)
    frame = pd.DataFrame({"image_id": [f"stylegan3/{i:05d}" for i in range(count)], "split": "train"})
    frame["image"] = frame["identity_id"] = frame["image_id"]
    frame["dataset"], frame["demographics_source"] = "stylegan3", source
    frame["cell"] = ["-".join(CELLS[i % 72].values()) for i in range(count)]
    for dimension, levels in DIMENSIONS.items():
        frame[dimension] = random.choice(levels, count, p=shares if dimension == "ethnicity" else None)
    return frame


def planned(per_cell=8):
    rows = [
        {"image_id": f"p/{c}-{k}", "cell": "-".join(cell.values()), "demographics_source": "requested", **cell}
        for c, cell in enumerate(CELLS)
        for k in range(per_cell)
    ]
    return pd.DataFrame(rows)


def real(count):
    frame = pool(count + 10, source="file").assign(dataset="real").drop(columns="cell")
    frame["image_id"] = frame["image_id"].str.replace("stylegan3", "real")
    frame.loc[count:, "split"] = "val"
    return frame


def with_validation(faces):
    return pd.concat([faces, faces[:1].assign(image_id="s/val", split="val")], ignore_index=True)


def test_a_draw_of_180_balances_the_people_and_not_the_plan():
    """The planned cells give about 155 white, 17 Asian and 8 black faces; the demographics in use give 60 of each."""
    faces = pool(4000)
    by_plan = pd.concat([rows.head(3) for _, rows in faces.groupby("cell")]).sample(180, random_state=1)
    assert by_plan["ethnicity"].value_counts()["white"] > 140
    drawn = draw_balanced(faces, 180, seed=1)
    assert set(groups_in_use(drawn).value_counts()) == {10} and len(drawn) == 180
    tables = {"real": real(360), "synthetic": with_validation(faces)}
    frame = compose(tables, {"synthetic_per_real": 0.5}, seed=1)
    assert frame["ethnicity"][frame["origin"] == "synthetic"].value_counts().to_dict() == dict.fromkeys(
        ("asian", "black", "white"), 60
    )
    assert set(drawn["image_id"]) <= set(draw_balanced(faces, 360, seed=1)["image_id"])


def test_relabelled_faces_count_as_what_they_are_used_as():
    faces = planned()
    some = (faces["ethnicity"] == "black") & (faces.index % 8 < 5)
    faces.loc[some, ["ethnicity", "demographics_source"]] = ["white", "fairface"]
    drawn = draw_balanced(faces, 180, seed=1)
    assert groups_in_use(drawn).value_counts().between(10, 10).all()


def test_a_planned_draw_is_balanced_over_groups_and_hair_colours():
    faces = planned()
    for count in (36, 100, 180, 400, 528):
        drawn = draw_balanced(faces, count, seed=1)
        counts = groups_in_use(drawn).value_counts()
        assert len(drawn) == count and counts.sub(count / 18).abs().max() <= max(0.1 * count / 18, 1)
    assert drawn["cell"].value_counts().between(7, 8).all(), "the plan's cells are kept where they divide the groups"
    # One prompt of black women with many faces, and many prompts of white women with one each.
    prompts = faces[faces["gender"] == "female"].assign(age="young", ethnicity="white")
    prompts.loc[prompts.index[:100], ["ethnicity", "cell"]] = ["black", "one prompt"]
    prompts["cell"] = [c if c == "one prompt" else f"{c}-{i}" for i, c in enumerate(prompts["cell"])]
    assert draw_balanced(prompts, 60, seed=1)["ethnicity"].value_counts().to_dict() == {"black": 30, "white": 30}


def test_faces_without_a_known_group_come_last():
    faces = pool(300, shares=(0.4, 0.3, 0.3)).assign(age="unknown")
    faces.loc[faces.index[:100], "ethnicity"] = "unknown"
    drawn = draw_balanced(faces, 90, seed=1)
    assert set(groups_in_use(drawn).value_counts()) == {15} and "unknown" not in set(drawn["ethnicity"])
    assert (draw_balanced(faces, 210, seed=1)["ethnicity"] == "unknown").sum() == 10
    nobody = faces.assign(**dict.fromkeys(LEVELS, "unknown"))
    assert len(draw_balanced(nobody, 30, seed=1)) == 30


def test_a_group_with_too_few_faces_stops_the_draw_or_is_named(caplog):
    tables = {"real": real(360), "synthetic": with_validation(pool(720))}
    with pytest.raises(UserError) as said:
        compose(tables, {"synthetic_per_real": 0.5}, seed=1)
    text = str(said.value)
    assert "equal groups need 10 faces each" in text and "of 180 are missing" in text
    assert "male|senior|black" in text and "generation.images_per_prompt" in text and "set it to null" in text
    # A combination that no face has is a group too.
    none = tables["synthetic"][lambda f: (f["ethnicity"] != "black") | (f["gender"] != "male")]
    with pytest.raises(UserError, match=r"male\|senior\|black 0"):
        compose({**tables, "synthetic": none}, {"synthetic_per_real": 0.5}, seed=1)
    few = planned().drop(index=range(3)).assign(split="train", dataset="p", image="", identity_id="")
    with caplog.at_level(logging.WARNING):
        frame = compose({"real": real(1100), "synthetic": with_validation(few)}, {"synthetic_per_real": 0.515}, seed=1)
    assert (frame["origin"][frame["split"] == "train"] == "synthetic").sum() == 566
    assert "are missing; there are female|middle_aged|asian 32" in caplog.text


# --- the table of demographics in use ---


@pytest.fixture
def generated(tmp_path):
    """Shards as of a generator that ignores prompts: recipes state the plan, rows record nothing; an annotator's answers."""
    random = np.random.default_rng(1)
    shards, screening, answers = [], [], []
    for k, cell in enumerate(CELLS[::6]):
        names = [f"{'-'.join(cell.values())}-{i}" for i in range(10)]
        rows = pd.DataFrame({"image_id": names, "member": [f"{i}.png" for i in range(10)], "requested": "{}",
                             "cell": "-".join(cell.values()), **dict.fromkeys(LEVELS, "unknown")})  # fmt: skip
        recipe = {**cell, "attributes": {HAIR_COLOURS[cell["hair"]]: 1}}
        picture = encode_png(np.full((24, 20, 3), 20 + 10 * k, np.uint8))
        shards.append(str(tmp_path / f"{k}.tar"))
        write_shard(shards[-1], [(m, picture) for m in rows["member"]], rows, recipe)
        good = np.arange(10) != 3
        screening.append(str(tmp_path / f"{k}.screen.parquet"))
        verdicts = {"image_id": names, "accepted": good, "reason": np.where(good, "", "no_face"), "detail": "",
                    "quality": np.nan}  # fmt: skip
        write_table(pd.DataFrame(verdicts), screening[-1], kind="screening")
        table = pd.DataFrame({"image_id": names, "failure": np.where(good, "", "not_accepted")})
        for dimension, levels in DIMENSIONS.items():
            shares = (0.1, 0.05, 0.85) if dimension == "ethnicity" else None
            table[dimension] = np.where(good, random.choice(levels, 10, p=shares), "unknown")
            table[f"{dimension}_score"] = np.where(good, 0.9, np.nan).astype(np.float32)
        table["label_Smiling"], table["score_Smiling"] = np.int8(1), np.float32(0.9)
        answers.append(str(tmp_path / f"{k}.own.parquet"))
        write_table(table, answers[-1], kind="annotation")
    write_demographics(shards, {"own": answers}, "own", None, tmp_path / "in_use.parquet")
    return {"shards": shards, "screening": screening, "answers": answers, "in_use": str(tmp_path / "in_use.parquet")}


def test_the_source_in_words():
    assert source_in_words({"requested": 5}) == "planned"
    assert source_in_words({"ground_truth": 5}) == "recorded truth of the renderer"
    assert source_in_words({"requested": 5, "fairface": 2}) == "planned (5 faces), annotated by fairface (2 faces)"


def test_every_table_reads_the_demographics_in_use(generated, tmp_path):
    people, words = demographics_in_use(generated["shards"], generated["in_use"])
    assert words == "annotated by own" and (people["cell"] == "").all() and len(people) == 120
    answers = pd.concat([read_table(p) for p in generated["answers"]])
    assert (people[LEVELS].to_numpy() == answers[LEVELS].to_numpy()).all()
    options = {"name": "stylegan3", "shards": generated["shards"], "screening": generated["screening"], "seed": 1,
               "annotations": {"own": generated["answers"]}, "labels": "own", "demographics": "own"}  # fmt: skip
    faces, _, summary = read("synthetic", options)
    pd.testing.assert_frame_equal(faces, read("synthetic", {**options, "in_use": generated["in_use"]})[0])
    kept = people[people["gender"] != "unknown"]
    assert (faces[LEVELS].to_numpy() == kept[LEVELS].to_numpy()).all()
    assert summary["demographics"] == words and summary["cells"] == 0
    shares = faces.groupby("ethnicity")["split"].value_counts(normalize=True)
    assert abs(shares["white", "train"] - 0.8) < 0.05

    files = {n: tmp_path / f"{n}.csv" for n in ("acceptance", "rejected", "quality", "differences", "weights")}
    write_acceptance(generated["shards"], generated["screening"], demographics=generated["in_use"], **files)
    table = pd.read_csv(files["acceptance"])
    assert set(table["demographics"]) == {words}
    ethnicity = table[table["grouping"] == "ethnicity"].set_index("group")
    assert ethnicity["total"].to_dict() == people["ethnicity"].value_counts().to_dict()
    assert ethnicity.loc["unknown", "accepted"] == 0 and ethnicity.loc["white", "rate"] == 1
    rejected = pd.read_csv(files["rejected"])
    assert rejected["cell"].isna().all() and set(rejected["demographics"]) == {words}

    tables = {"own": generated["answers"], "other": generated["answers"]}
    write_comparison(
        generated["shards"],
        tables,
        ["Smiling"],
        tmp_path / "a.csv",
        tmp_path / "c.csv",
        tmp_path / "w.json",
        generated["in_use"],
    )
    agreed = pd.read_csv(tmp_path / "a.csv")
    white = agreed[(agreed["subject"] == "Smiling") & (agreed["group"] == "white")]
    assert white["n"].iloc[0] == (people["ethnicity"] == "white").sum() and set(agreed["demographics"]) == {words}
    assert pd.read_csv(tmp_path / "c.csv").empty, "nobody asked for anything, so there is nothing to err against"


def test_a_contact_sheet_shows_faces_under_the_demographics_in_use(generated, tmp_path):
    people, _ = demographics_in_use(generated["shards"], generated["in_use"])
    cells = choose_faces(generated["shards"], people)
    shown = {(c.ethnicity, c.age, c.gender) for c in cells}
    assert shown == set(people[["ethnicity", "age", "gender"]].itertuples(index=False, name=None))
    assert {c.hair for c in cells} == {ANY_HAIR}, "nobody asked for a hair colour"
    assert {(c.ethnicity, c.hair) for c in choose_faces(generated["shards"])} == {("unknown", ANY_HAIR)}
    write_contact_sheet(generated["shards"], tmp_path / "sheet.jpg", generated["in_use"], face_width=60)
    write_contact_sheet(generated["shards"], tmp_path / "other.jpg", face_width=60)
    sheet = read_image(str(tmp_path / "sheet.jpg"))
    assert (sheet[-30:] < 150).any(), "the last line names the source"
    with pytest.raises(UserError, match="no row for"):
        choose_faces(generated["shards"], people[1:])


def test_relabelled_groups_hold_rejected_faces_too(generated):
    """Otherwise accepted faces would leave their group, rejected ones would stay, and rates by group would be wrong."""
    people = find_demographics(generated["shards"], {}, "requested")
    assert set(people["demographics_source"]) == {"requested"}
    validate = {"by": "own", "dimensions": ["ethnicity"], "policy": "relabel"}
    asked = [p.replace(".own.", ".asked.") for p in generated["answers"]]
    for shard, path in zip(generated["shards"], asked, strict=True):
        rows = pd.DataFrame({"image_id": read_table(path.replace(".asked.", ".own."))["image_id"]})
        rows["member"] = [f"{i}.png" for i in range(10)]
        picture = encode_png(np.zeros((4, 4, 3), np.uint8))
        recipe = {"gender": "male", "age": "senior", "ethnicity": "asian", "cell": "x"}
        write_shard(shard, [(m, picture) for m in rows["member"]], rows, recipe)
    people = find_demographics(generated["shards"], {"own": generated["answers"]}, "requested", validate)
    seen = pd.concat([read_table(p) for p in generated["answers"]], ignore_index=True)["ethnicity"]
    assert (people["ethnicity"] == seen).all() and set(people["age"]) == {"senior"} and set(people["cell"]) == {"x"}
    assert ((people["demographics_source"] == "own") == ~seen.isin(["asian", "unknown"])).all()


def test_the_plan_of_a_generator_that_ignores_prompts_claims_no_group(shipped_config):
    shipped_config["annotation"]["accept_domain_shift"] = ["trained_here", "magface"]
    shipped_config["generation"] |= {"generator": ["parametric", "stylegan3"], "also": {}}
    config = check_config(shipped_config)
    rendered, random = overview(build_plans(config).values(), config["generation"]["prompts"]).split("\n\n")[1:]
    assert "ethnicity   asian 240" in rendered and "Black_Hair" in rendered
    assert "prompts have no effect" in random and "asian" not in random and "Hair" not in random


# --- photographs and renderings ---

EXTENSION = """
from evenface.parts import Annotator, Generator, Reader, Settings

PARTS = [
    Generator(name="silent", summary="Says nothing.", code=print),
    Generator(name="drawn", summary="Renders.", code=print, pictures="renderings"),
    Annotator(name="guess", summary="Says nothing.", code=print, labels_attributes=True, dimensions=("gender",)),
    Annotator(name="rule", summary="A rule.", code=print, labels_attributes=True, trained_on="nothing"),
    Annotator(name="game", summary="Of games.", code=print, labels_attributes=True, trained_on="renderings"),
    Annotator(name="seen", summary="Of people.", code=print, labels_attributes=True, dimensions=("gender",), trained_on="photographs"),
    Annotator(name="lost", summary="No.", code=print, labels_attributes=True, trained_on=lambda settings: "no data set"),
    Annotator(name="mistyped", summary="No.", code=print, labels_attributes=True, trained_on="photos"),
    Reader(name="rendered", summary="A published set of renderings.", code=print, pictures="renderings"),
]
"""


@pytest.fixture
def configured(shipped_config, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/mine.py").write_text(EXTENSION)
    shipped_config["extensions"] = [str(tmp_path / "parts")]
    shipped_config["generation"]["also"] = {}

    def merge(base, over):
        for key, value in over.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                merge(base[key], value)
            else:
                base[key] = value

    def change(**changes):
        merge(shipped_config, changes)
        return shipped_config

    yield change
    parts.activate([])


REAL = {"reader": "celeba", "root": "/pictures/celeba"}
UNJUDGED = {"screening": {"magface": {"weights": None}}}


def only(annotator, **more):
    return {"annotators": [annotator], "labels_from": annotator, "demographics_from": ["requested", annotator], **more}


REFUSED = {
    "an annotator": ({"generation": {"generator": "stylegan3"}, **UNJUDGED}, {"trained_here": "generator stylegan3"}),
    "quality": (
        {"generation": {"generator": "stylegan3"}, "annotation": only("facexformer")},
        {"magface": "generator stylegan3"},
    ),
    "both": (
        {"generation": {"also": {"diffusion": 4}, "settings": {"diffusion": {"model": "models/other"}}}},
        {"trained_here": "generator diffusion", "magface": "generator diffusion"},
    ),
    "pictures that start from photographs": (
        {"generation": {"generator": ["stylegan3", "diffusion"], "settings": {"diffusion": {"initial": {"generator": "stylegan3"}}}}},
        {"trained_here": "generator diffusion", "magface": "generator diffusion"},
    ),
    "directions": (
        {"latent_directions": {"generator": "stylegan3", "accepted_by": "deepface", "factors": ["gender"],
                               "balanced": {"groups": ["gender"]}}},
        {"trained_here": "latent_directions.labels_from"},
    ),
    "guided faces": (
        {"generation": {"generator": "guided"}, "annotation": only("trained_here"), **UNJUDGED,
         "latent_directions": {"generator": "stylegan3", "accepted_by": "deepface", "factors": ["gender"],
                               "balanced": {"groups": ["gender"]}}},
        {"trained_here": "generator guided"},
    ),
    "a threshold": (
        {"datasets": {"celeba": {**REAL, "standin": None}, "annotated": {}}, "screening": {"magface": {
            "trained_here": {"dataset": "annotated"}}}},
        {"magface": "data set celeba"},
    ),
    "a threshold of renderings": (
        {"generation": {"generator": "stylegan3"}, "annotation": only("facexformer"),
         "screening": {"magface": {"weights": "models/m.pth", "threshold": "calibrated"}}},
        {"magface": "generator stylegan3"},
    ),
    "an extension's generator": ({"generation": {"generator": "silent"}, **UNJUDGED}, {"trained_here": "generator silent"}),
    "an extension's annotator": (
        {"generation": {"generator": "stylegan3"}, "annotation": only("guess"), **UNJUDGED},
        {"guess": "generator stylegan3"},
    ),
    "of renderings": (
        {"generation": {"generator": "stylegan3"}, "annotation": {**only("seen"), "annotators": ["seen", "game"]}, **UNJUDGED},
        {"game": "generator stylegan3"},
    ),
    "mistyped": (
        {"generation": {"generator": "stylegan3"}, "annotation": {**only("seen"), "annotators": ["seen", "mistyped"]}, **UNJUDGED},
        {"mistyped": "generator stylegan3"},
    ),
    "of no data set": (
        {"generation": {"generator": "stylegan3"}, "annotation": {**only("seen"), "annotators": ["seen", "lost"]}, **UNJUDGED},
        {"lost": "generator stylegan3"},
    ),
    "a rendered data set": (
        {"generation": {"generator": "stylegan3"}, **UNJUDGED,
         "datasets": {"annotated": {"reader": "rendered", "root": "/d", "standin": None, "demographics": None}}},
        {"trained_here": "data set annotated"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_photographs_are_not_labelled_by_what_learned_from_renderings(configured, case):
    changes, told = REFUSED[case]
    config = configured(**changes)
    with pytest.raises(UserError) as said:
        check_config(config)
    lines = str(said.value).split("\n")[1:]
    for network, subject in told.items():
        (line,) = [line for line in lines if f" {network} " in line]
        assert subject in line and "annotation.accept_domain_shift: [" in line
    # The remedy works, and the report's sentences name all.
    config = configured(**{"annotation": yaml.safe_load(lines[0].rpartition("accept them: annotation.")[2])})
    accepted = accepted_shifts(check_config(config))
    assert len(accepted) == len(told) and all(network in " ".join(accepted) for network in told)


FINE = {
    "as shipped": {"generation": {"also": {"diffusion": 4}}},
    "trained anew": {"generation": {"generator": "diffusion", "settings": {"diffusion": {"model": "./results/text_to_face/model/"}}}},
    "published": {"generation": {"generator": "stylegan3"}, "annotation": only("facexformer"), "screening": {"magface": {"weights": "models/m.pth"}}},
    "a rule": {"generation": {"generator": "stylegan3"}, "annotation": {**only("seen"), "annotators": ["seen", "rule"]}, **UNJUDGED},
    "renderings": {"generation": {"generator": "drawn"}, "annotation": only("guess")},
    "trained on photographs": {"generation": {"generator": "stylegan3"}, **UNJUDGED,
                               "datasets": {"annotated": {**REAL, "standin": None, "demographics": None}}},
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_other_labels_need_no_key(configured, case):
    assert accepted_shifts(check_config(configured(**FINE[case]))) == []


def test_real_data_labelled_by_such_a_network(configured, tmp_path):
    rows = pd.DataFrame({"image_id": ["1.jpg"], "gender": "male", "annotator": "trained_here-v3"})
    for path in (tmp_path / "own.parquet", tmp_path / "own.csv"):
        rows.to_csv(path, index=False) if path.suffix == ".csv" else write_table(rows, path, kind="annotation")
        maad = {"root": "/pictures/vggface2", "standin": None, "demographics": str(path)}
        with pytest.raises(UserError, match=r"trained_here learned from renderings .*data set maad_face"):
            check_config(configured(datasets={"maad_face": maad}))
    check_config(configured(annotation={"accept_domain_shift": ["trained_here"]}))
    # The truth about a stand-in is never that about photographs: CelebA's files have the same names.
    truth = "data/standins/annotated/standin_truth.parquet"
    with pytest.raises(UserError, match="the truth about rendered faces, but maad_face holds photographs"):
        check_config(configured(datasets={"maad_face": {"demographics": truth}}))
