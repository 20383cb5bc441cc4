"""Stand-ins: the published formats, the declared bias, other people in each."""

from collections import Counter

import numpy as np
import pytest

from evenface.datasets import read
from evenface.errors import UserError
from evenface.standins.assemble import assemble
from evenface.standins.population import StandinSettings, members
from evenface.standins.rendering import render_part
from evenface.storage.shards import read_shard
from evenface.storage.tables import read_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, MAAD_ATTRIBUTES

SMALL = {"format": "celeba", "identities": 8, "images_per_identity": 2, "parts": 2, "domain": "celebrity_photo"}


def build(tmp_path, name, config, face_assets, seed=1):
    parts = []
    for part in range(config["parts"]):
        parts.append(tmp_path / f"{name}-{part}.tar")
        render_part(name, config, seed, part, face_assets, parts[-1])
    root = tmp_path / name
    outputs = {"attributes": root / "list_attr_celeba.txt", "partition": root / "list_eval_partition.txt",
               "identity": root / "identity_CelebA.txt", "truth": root / "standin_truth.parquet"}  # fmt: skip
    if config["format"] == "vggface2":
        outputs = {"attributes": root / "MAAD_Face.csv", "truth": root / "standin_truth.parquet"}
    assemble(name, config, seed, parts, {k: str(v) for k, v in outputs.items()})
    return root


def test_the_declared_shares_are_met(config):
    settings = StandinSettings.from_config("celeba", config["standins"]["celeba"])
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
    settings = StandinSettings.from_config("a", SMALL)
    assert not {m.seed for m in members("celeba", settings, 1)} & {m.seed for m in members("vggface2", settings, 1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identites": 3}, "'identites' is not known"),
        ({"ethnicity": {"green": 1}}, "'green' is not known"),
        ({"ethnicity": {"white": 0}}, "sum to 0"),
        ({"domain": "cave"}, "domain: 'cave'"),
        ({"label_noise": 1.5}, "label_noise"),
    ],
)
def test_a_wrong_declaration_names_its_key(change, message):
    with pytest.raises(UserError, match=message):
        StandinSettings.from_config("x", {**SMALL, **change})


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
    from evenface.storage.images import read_image

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
