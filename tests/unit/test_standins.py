"""Stand-ins: the published formats, the declared bias, other people in each."""

import json
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from evenface.datasets import read
from evenface.errors import UserError
from evenface.generators.parametric.domains import domain
from evenface.generators.parametric.expressions import EXPRESSIONS
from evenface.generators.parametric.face import Expression
from evenface.generators.parametric.sampling import sample_face, sample_identity
from evenface.generators.parametric.truth import truth_of
from evenface.parts import StandinFormat, part
from evenface.standins.assemble import assemble
from evenface.standins.population import members, settings_of
from evenface.standins.rendering import render_part
from evenface.standins.utkface.assemble import MALFORMED
from evenface.storage.images import read_image
from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, DEEPFACE_EMOTION, MAAD_ATTRIBUTES, VOCABULARIES

SMALL = {"format": "celeba", "identities": 8, "images_per_identity": 2, "parts": 2, "domain": "celebrity_photo"}


def build(tmp_path, name, config, face_assets, seed=1):
    parts = []
    for number in range(config["parts"]):
        parts.append(tmp_path / f"{name}-{number}.tar")
        render_part(name, config, seed, number, face_assets, parts[-1])
    root = tmp_path / name
    files = {**part(StandinFormat, config["format"], "").outputs, "truth": "standin_truth.parquet"}
    assemble(name, config, seed, parts, {key: str(root / file) for key, file in files.items()})
    return root


def test_the_declared_shares_are_met(config):
    settings = settings_of("celeba", config["standins"]["celeba"])
    people = members("celeba", settings, 3)
    counts = Counter(m.demographics["ethnicity"] for m in people)
    for ethnicity, share in settings.ethnicity.items():
        assert abs(counts[ethnicity] / len(people) - share) < 0.01
    for ethnicity in counts:
        hair = Counter(m.hair for m in people if m.demographics["ethnicity"] == ethnicity)
        for colour, share in settings.hair_given_ethnicity[ethnicity].items():
            assert abs(hair[colour] - share * counts[ethnicity]) <= 1
    splits = Counter(m.split for m in people)
    assert abs(splits["train"] / len(people) - 0.8) < 0.02 and abs(splits["val"] / len(people) - 0.1) < 0.02


def test_standins_share_no_person():
    settings = settings_of("a", SMALL)
    assert not {m.seed for m in members("celeba", settings, 1)} & {m.seed for m in members("vggface2", settings, 1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identites": 3}, "'identites' is not known"),
        ({"ethnicity": {"green": 1}}, "'green' is not known"),
        ({"ethnicity": {"white": 0}}, "sum to 0"),
        ({"domain": "cave"}, "domain: 'cave'"),
        ({"label_noise": 1.5}, "label_noise"),
        ({"format": "utkface", "ethnicity": {"east_asian": 1}}, "'east_asian' is not known"),
        ({"format": "celeba", "ethnicity": {"indian": 1}}, "'indian' is not known"),
        ({"format": "fer2013", "expression": {"happy": 0}}, "sum to 0"),
        ({"format": "fer2013", "expression": {"joy": 1}}, "'joy' is not known"),
        ({"expression": {"happy": 1}}, "'expression' is not known"),
        ({"hair_given_ethnicity": {"white": {"black": 0}}}, "sum to 0"),
    ],
)
def test_a_wrong_declaration_names_its_key(change, message):
    with pytest.raises(UserError, match=message):
        settings_of("x", {**SMALL, **change})


def test_celeba_format_as_published(tmp_path, face_assets):
    root = build(tmp_path, "celeba", {**SMALL, "label_noise": 0.1}, face_assets)
    lines = (root / "list_attr_celeba.txt").read_text().splitlines()
    assert lines[0] == "16" and lines[1].split() == list(CELEBA_ATTRIBUTES)
    assert lines[2].startswith("000001.jpg ") and len(lines) == 18
    assert {v for line in lines[2:] for v in line.split()[1:]} == {"1", "-1"}
    partition = dict(line.split(" ") for line in (root / "list_eval_partition.txt").read_text().splitlines())
    assert list(partition.values()) == sorted(partition.values())
    identity = dict(line.split(" ") for line in (root / "identity_CelebA.txt").read_text().splitlines())
    assert set(partition) == set(identity) == {line.split()[0] for line in lines[2:]}
    assert set(Counter(identity.values()).values()) == {2}
    assert all(len({partition[n] for n in identity if identity[n] == i}) == 1 for i in identity.values())
    assert "stand-in" in (root / "README.txt").read_text()
    faces, rejected, summary = read(
        "celeba", {"root": str(root), "demographics": str(root / "standin_truth.parquet"), "verify_images": True}
    )
    assert len(faces) == 16 and len(rejected) == 0 and summary["identities_known"]
    assert set(faces["ethnicity"]) <= {"asian", "black", "white"}


def test_maad_face_format_as_published(tmp_path, face_assets):
    config = {**SMALL, "format": "vggface2", "domain": "web_crop", "undefined_rate": 0.2}
    root = build(tmp_path, "vggface2", config, face_assets)
    lines = (root / "MAAD_Face.csv").read_text().splitlines()
    assert lines[0].split(",") == ["Filename", "Identity", *MAAD_ATTRIBUTES]
    assert lines[1].startswith("n000001/0001_01.jpg,1,")
    assert {v for line in lines[1:] for v in line.split(",")[2:]} == {"1", "-1", "0"}
    faces, rejected, _ = read("maad_face", {"root": str(root), "verify_images": True})
    assert len(faces) == 16 and len(rejected) == 0
    assert set(CELEBA_ATTRIBUTES) & set(MAAD_ATTRIBUTES) <= set(faces.columns)
    shapes = {read_image(r).shape for r in faces["image"]}
    assert len(shapes) > 8, "loose crops vary in size"


def test_parts_change_no_picture_and_a_rerun_leaves_no_stale_image(tmp_path, face_assets):
    root = build(tmp_path, "celeba", SMALL, face_assets)
    pictures = {p.name: p.read_bytes() for p in (root / "img_align_celeba").iterdir()}
    (root / "img_align_celeba" / "000099.jpg").write_bytes(b"old")
    again = build(tmp_path, "celeba", {**SMALL, "parts": 1}, face_assets)
    assert {p.name: p.read_bytes() for p in (again / "img_align_celeba").iterdir()} == pictures


def test_labels_without_noise_are_the_truth(tmp_path, face_assets):
    root = build(tmp_path, "annotated", {**SMALL, "identities": 4}, face_assets)
    truth = read_table(root / "standin_truth.parquet").set_index("image")
    for line in (root / "list_attr_celeba.txt").read_text().splitlines()[2:]:
        name, *values = line.split()
        known = truth.loc[name, list(CELEBA_ATTRIBUTES)].to_numpy(int)
        np.testing.assert_array_equal(np.array(values, int)[known != 0], known[known != 0])


def test_a_part_is_the_same_in_another_process(tmp_path, face_assets, root):
    import subprocess
    import sys

    config = {**SMALL, "identities": 2, "parts": 1}
    render_part("x", config, 1, 0, face_assets, tmp_path / "a.tar")
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'workflow_scripts')!r})\n"
        "from evenface.standins.rendering import render_part\n"
        f"render_part('x', {config!r}, 1, 0, {str(face_assets)!r}, {str(tmp_path / 'b.tar')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with read_shard(tmp_path / "a.tar") as shard:
        assert len(shard.table) == 4


@pytest.mark.parametrize("format", ["utkface", "fairface"])
def test_levels_that_the_renderer_lacks_are_drawn_and_recorded(tmp_path, face_assets, format):
    levels = VOCABULARIES[format]["ethnicity"]
    config = {"format": format, "identities": len(levels), "images_per_identity": 1, "parts": 1}
    truth = read_table(build(tmp_path, format, config, face_assets) / "standin_truth.parquet")
    assert sorted(truth["ethnicity"]) == sorted(levels)
    for level, text in zip(truth["ethnicity"], truth["face"], strict=True):
        weights = json.loads(text)["person"]["ethnicity"]
        assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
        assert (max(weights.values()) > 0.8) == (
            level in ("asian", "black", "white", "east_asian", "middle_eastern")
        ) or (level == "others")


def test_others_are_people_of_both_groups_that_they_gather():
    shapes = [
        sample_identity({"gender": "female", "age": "young", "ethnicity": "others"}, {}, seed).person
        for seed in range(40)
    ]
    assert {person.group for person in shapes} == {"others"}
    asian = sorted(person.ethnicity["asian"] for person in shapes)
    assert asian[0] < 0.1 < 0.2 < asian[-1], "one group has a share of the Asian head, the other has not"


def test_utkface_as_published(tmp_path, face_assets):
    config = {"format": "utkface", "identities": 20, "images_per_identity": 1, "parts": 1}
    root = build(tmp_path, "utkface", config, face_assets)
    truth = read_table(root / "standin_truth.parquet").set_index("image")
    names = sorted(p.name for p in (root / "UTKFace").iterdir())
    assert names == sorted(truth.index) and len(names) == 20
    good = [name for name in names if not name.startswith(MALFORMED)]
    assert len(good) == 17
    for name in good:
        age, gender, race, time = re.fullmatch(r"(\d+)_([01])_([0-4])_(\d{17})\.jpg\.chip\.jpg", name).groups()
        row = truth.loc[name]
        assert int(age) == int(row["years"]) and gender == "01"[row["gender"] == "female"]
        assert VOCABULARIES["utkface"]["ethnicity"][int(race)] == row["ethnicity"]
        datetime.strptime(time + "000", "%Y%m%d%H%M%S%f")
    assert read_image(str(root / "UTKFace" / good[0])).shape == (200, 200, 3)
    plain = build(tmp_path / "plain", "utkface", {**config, "malformed_names": False}, face_assets)
    assert not any(p.name.startswith(MALFORMED) for p in (plain / "UTKFace").iterdir())


def test_fairface_as_published(tmp_path, face_assets):
    config = {"format": "fairface", "identities": 20, "images_per_identity": 1, "parts": 1}
    root = build(tmp_path, "fairface", config, face_assets)
    truth = read_table(root / "standin_truth.parquet").set_index("image")
    lists = {split: pd.read_csv(root / f"fairface_label_{split}.csv", dtype=str) for split in ("train", "val")}
    for split, rows in lists.items():
        assert [*rows.columns] == ["file", "age", "gender", "race", "service_test"]
        assert rows["file"].tolist() == [f"{split}/{k}.jpg" for k in range(1, len(rows) + 1)]
        assert set(rows["service_test"]) <= {"True", "False"}
        for row in rows.itertuples():
            known = truth.loc[row.file]
            assert row.gender.lower() == known["gender"] and row.race.lower().replace(" ", "_") == known["ethnicity"]
            first = 70 if row.age == "more than 70" else int(row.age.partition("-")[0])
            assert first <= known["years"] < (200 if first == 70 else int(row.age.partition("-")[2]) + 1)
            assert read_image(str(root / row.file)).shape == (224, 224, 3)
    assert len(lists["train"]) == 18 and len(lists["val"]) == 2


def test_fer2013_as_published(tmp_path, face_assets):
    config = {"format": "fer2013", "identities": 40, "images_per_identity": 1, "parts": 2}
    root = build(tmp_path, "fer2013", config, face_assets)
    rows = pd.read_csv(root / "fer2013.csv")
    truth = read_table(root / "standin_truth.parquet")
    assert [*rows.columns] == ["emotion", "pixels", "Usage"]
    assert [DEEPFACE_EMOTION[code] for code in rows["emotion"]] == truth["expression"].tolist()
    assert truth["image"].tolist() == [f"{line:05d}" for line in range(2, 42)]
    assert rows["Usage"].tolist() == ["Training"] * 32 + ["PublicTest"] * 4 + ["PrivateTest"] * 4
    assert Counter(rows["emotion"]).most_common()[0][1] == 6 and Counter(rows["emotion"]).most_common()[-1][1] == 5
    pixels = np.array([text.split() for text in rows["pixels"]], int)
    assert pixels.shape == (40, 48 * 48) and pixels.min() >= 0 and pixels.max() <= 255
    assert pixels.std(axis=1).min() > 10, "every picture shows something"
    with read_shard(tmp_path / "fer2013-0.tar") as shard:
        member = shard.table["member"].iloc[0]
        line = truth.index[truth["identity"] == str(shard.table["identity"].iloc[0])][0]
        large = shard.image(member).astype(float) @ (0.299, 0.587, 0.114)
    np.testing.assert_allclose(pixels[line].reshape(48, 48), large.reshape(48, 2, 48, 2).mean((1, 3)), atol=0.51)


def test_the_share_of_wrong_labels_is_as_declared(tmp_path, face_assets):
    config = {"format": "fer2013", "identities": 120, "images_per_identity": 1, "parts": 1, "label_noise": 0.3}
    root = build(tmp_path, "noisy", config, face_assets)
    codes = pd.read_csv(root / "fer2013.csv", usecols=["emotion"])["emotion"]
    true = read_table(root / "standin_truth.parquet")["expression"]
    wrong = np.mean([DEEPFACE_EMOTION[code] != name for code, name in zip(codes, true, strict=True)])
    assert abs(wrong - 0.3) < 4 * (0.21 / 120) ** 0.5


@pytest.mark.parametrize("people", [84, 500])
def test_expressions_are_equally_frequent_in_every_group(people):
    settings = settings_of("fer", {"format": "fer2013", "identities": people, "images_per_identity": 2})
    drawn = [(m, expression) for m in members("fer", settings, 5) for expression in m.expressions]
    for dimension, stretches in (("split", 1), ("gender", 3), ("ethnicity", 6)):
        counts = Counter(({**m.demographics, "split": m.split}[dimension], expression) for m, expression in drawn)
        for group in {group for group, _ in counts}:
            numbers = [counts[group, expression] for expression in DEEPFACE_EMOTION]
            assert max(numbers) - min(numbers) <= 2 * stretches, (group, numbers)


def test_every_expression_changes_the_picture_and_only_the_face(renderer):
    person = sample_identity({"gender": "male", "age": "young", "ethnicity": "white"}, {}, 5)
    faces = {name: sample_face(person, {}, 9, place=domain("studio"), expression=name) for name in EXPRESSIONS}
    assert {truth_of(face)["expression"] for face in faces.values()} == set(DEEPFACE_EMOTION) == set(EXPRESSIONS)
    plain = {name: replace(face, expression=Expression()) for name, face in faces.items()}
    assert len({face.digest() for face in plain.values()}) == 1
    pictures = {name: renderer.render(face).astype(int) for name, face in faces.items()}
    for one in pictures:
        for other in pictures:
            if one < other:
                assert np.abs(pictures[one] - pictures[other]).mean() > 0.4, (one, other)
    smiles = {name: truth_of(face)["attributes"]["Smiling"] for name, face in faces.items()}
    assert smiles.pop("happy") == 1 and set(smiles.values()) == {-1}
