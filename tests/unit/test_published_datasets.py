"""Every published data set can be configured, trained on and evaluated, and is documented."""

import re
from types import SimpleNamespace

import pytest
import yaml

from evenface import parts
from evenface.configuration import check_config
from evenface.recipes.flow import open_flow

LABELS = {
    "utkface": "Male", "fairface": "Male", "fer2013": "emotion", "raf_db": "emotion", "affectnet": "emotion",
    "celeba": "Smiling", "maad_face": "Smiling",
}  # fmt: skip


def config(root, reader, label):
    base = yaml.safe_load((root / "config.yaml").read_text())
    base["datasets"] = {"mine": {"reader": reader, "root": f"data/{reader}"}}
    base["standins"] = {}
    base["generation"] |= {"generator": [], "also": None}
    base["runs"] = {"real": {"real": "mine"}}
    base["training"] |= {"attributes": [label]}
    base["evaluation"] |= {"dataset": "mine", "attributes": [label], "groupings": ["gender"], "baseline": "real"}
    return base


@pytest.mark.parametrize("reader", sorted(set(parts.parts(parts.Reader)) - {"table"}))
def test_a_few_lines_configure_a_published_data_set(root, tmp_path, reader):
    flow = open_flow(config(root, reader, LABELS[reader]), root)
    recipe = flow.datasets.recipe(SimpleNamespace(dataset="mine"))
    assert recipe["settings"]["root"] == f"data/{reader}" and recipe["reader"] == reader
    tables = [f"data/{reader}/{names[0]}" for names in parts.part(parts.Reader, reader, "").tables]
    assert flow.datasets.files(SimpleNamespace(dataset="mine"))[: len(tables)] == tables


def test_service_test_is_left_out_of_recipes_unless_it_is_set(root):
    base = config(root, "fairface", "Male")
    assert "service_test" not in check_config(base)["datasets"]["mine"]
    base["datasets"]["mine"]["service_test"] = "only"
    assert check_config(base)["datasets"]["mine"]["service_test"] == "only"


def test_the_page_of_data_sets_names_every_reader_and_its_files(root):
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", (root / "docs/datasets.md").read_text(), re.M))
    readers = parts.parts(parts.Reader)
    assert set(rows) == set(readers)
    for name, reader in readers.items():
        for file in (names[0] for names in reader.tables):
            assert file.rpartition("/")[2].removesuffix(".txt") in rows[name], (name, file)
        assert all(f"`{target}`" in rows[name] for target in reader.classes)
