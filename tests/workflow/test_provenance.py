"""After a run of the real workflow, every picture in it says where it comes from."""

import json
import shutil
import tarfile

from evenface.storage import metadata
from evenface.storage.metadata import ALGORITHMIC
from evenface.storage.shards import read_shard
from workflow.workflow import planned


def pictures(tree):
    """(name, bytes) of every picture under data and results, in archives and beside them."""
    for path in sorted(p for folder in ("data", "results") for p in (tree / folder).rglob("*")):
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.name.startswith("images/"):
                        yield f"{path.relative_to(tree)}::{member.name}", archive.extractfile(member).read()
        elif path.suffix in (".png", ".jpg", ".jpeg", ".webp"):
            yield str(path.relative_to(tree)), path.read_bytes()


def test_every_picture_says_that_no_camera_took_it(finished):
    said = {name: metadata.read(data, name) for name, data in pictures(finished)}
    assert [name for name, found in said.items() if found is None] == []
    assert {found.source_type for found in said.values()} == {ALGORITHMIC}
    assert {found.generator for found in said.values()} == {"parametric"}
    assert [name for name, found in said.items() if not found.seed and "contact_sheet" not in name] == []
    places = {name.split("/")[1] for name in said if name.startswith("data/")}
    assert places == {"synthetic", "standins"} and any("contact_sheet" in name for name in said)


def test_prompt_and_seed_survive_to_the_crops_that_are_annotated(finished):
    folder = finished / "data/synthetic/parametric"
    crops = 0
    for path in sorted(folder.glob("*.aligned.tar")):
        with read_shard(folder / f"{path.name.split('.')[0]}.tar") as shard, read_shard(path) as aligned:
            rows = shard.table.set_index("image_id")
            for image_id, member in zip(aligned.table["image_id"], aligned.table["member"]):
                found, row = metadata.read(aligned.image_bytes(member)), rows.loc[image_id]
                assert (found.image_id, found.prompt, found.seed) == (image_id, row["prompt"], str(row["seed"]))
                assert found.steps == ("framed celeba, 178 x 218 pixels",)
                assert found.source_type == row["digital_source_type"]
                assert json.loads(found.provenance) == json.loads(row["provenance"])
                crops += 1
    assert crops >= 8


def test_a_shard_without_metadata_is_not_taken_for_one_with(finished, tmp_path):
    """Shards are named by a recipe that says how images are kept: those of older versions have other names."""
    tree = tmp_path / "tree"
    shutil.copytree(finished, tree, symlinks=True)
    source = tree / "workflow_scripts/evenface/plan/shards.py"
    text = source.read_text()
    assert "RECIPE_VERSION = 2" in text
    source.write_text(text.replace("RECIPE_VERSION = 2", "RECIPE_VERSION = 1"))
    assert planned(tree, "data/faces/parametric.parquet")["generate"] == 2
