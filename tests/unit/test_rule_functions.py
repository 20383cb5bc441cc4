"""What functions of rules would meet is found while the configuration is read, and is a sentence for whoever wrote it."""

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest

from evenface import parts
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.recipes.flow import open_flow


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A folder without data and models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(parts.VARIABLE, "")


def test_a_language_model_that_is_missing_stops_before_any_job(shipped_config, root):
    contextual = {"writer": "transformers", "transformers": {"folder": "mine/model"}, "prompts_per_cell": 2}
    shipped_config["generation"]["prompts"] = {"contextual": contextual}
    flow = open_flow(shipped_config, root)
    [file] = flow.unwritten
    assert flow.generation.writer_files(SimpleNamespace(catalogue=Path(file).stem)) == ["mine/model"]
    with pytest.raises(UserError) as error:
        flow.check_before_jobs([file])
    assert "mine/model: missing\n  Put it there, or set generation.prompts.contextual.transformers.folder to where" in (
        str(error.value)
    )
    Path("mine/model").mkdir(parents=True)
    open_flow(shipped_config, root).check_before_jobs([file])
    Path("mine/model").rmdir()
    Path(file).parent.mkdir(parents=True)
    Path(file).write_text("context\nin a park\nat a desk\n")
    assert "mine/model" not in [path for need in open_flow(shipped_config, root).needs for path in need.paths]


PART = """
from evenface.parts import Generator, Needs, Reader
PART = {}(name="mine", summary="", code="x:y", {})
"""
AT = "mine.py: {} of the generator mine "


@pytest.mark.parametrize(
    ("kind", "said", "sentence"),
    [
        ("Generator", "files=lambda s: {'model': s['model']}",
         AT.format("files") + "cannot be used with these settings: KeyError: 'model'"),
        ("Generator", "files=lambda s: ['a.pt']", AT.format("files") + "gives ['a.pt']; it must give a dict"),
        ("Generator", "files=lambda s: {'model': None}", AT.format("files") + "gives {'model': None}; it must give a"),
        ("Generator", "knows_truth=lambda s: s['truth']", AT.format("knows_truth") + "cannot be used with these settings"),
        ("Generator", "pictures=lambda s: s['style']", AT.format("pictures") + "cannot be used with these settings"),
        ("Generator", "needs=lambda s: {'gpu': 1}", AT.format("needs") + "gives {'gpu': 1}; it must give evenface.parts"),
        ("Generator", "needs=lambda s: Needs(mem_mb='4 GB')", "mem_mb of Needs is '4 GB'; it must be a whole number"),
        ("Generator", "needs=Needs(gpu=True)", "mine.py:3: the extension cannot be used: TypeError: gpu of Needs is True"),
        ("Reader", "tables=('list.csv',)", """'list.csv' in tables or optional is not a tuple; write ("list.csv",)"""),
    ],
)  # fmt: skip
def test_a_users_part_that_says_something_wrong_is_named(shipped_config, root, kind, said, sentence):
    Path("my_parts").mkdir()
    Path("my_parts/mine.py").write_text(PART.format(kind, said))
    shipped_config["extensions"] = ["my_parts"]
    shipped_config["annotation"]["accept_domain_shift"] = ["trained_here", "magface"]
    if kind == "Generator":
        shipped_config["generation"] |= {"generator": ["mine", "parametric"], "also": None}
    with pytest.raises(UserError) as error:
        open_flow(shipped_config, root).generation.asks.gpu(0)(SimpleNamespace(generator="mine"))
    assert sentence in str(error.value)


def test_a_users_reader_that_leaves_the_folder_of_its_data_is_named(shipped_config, root):
    Path("my_parts").mkdir()
    Path("my_parts/mine.py").write_text(PART.format("Reader", "tables=(('../list.csv',),)"))
    shipped_config["extensions"] = ["my_parts"]
    shipped_config["datasets"]["celeba"] = {"reader": "mine", "root": "faces"}
    with pytest.raises(
        UserError, match=r"^the reader mine: '\.\./list\.csv' is not the name of a file or folder below faces"
    ):
        open_flow(shipped_config, root)


def test_latent_directions_are_checked_once_they_are_set_or_asked_for(shipped_config, root):
    wrong = shipped_config | {"latent_directions": {"factors": ["gender", "beauty"]}}
    with pytest.raises(UserError, match=r"latent_directions\.factors: 'beauty' is not known"):
        check_config(wrong)
    shipped_config["annotation"]["trained_here"]["attributes"] = ["Black_Hair"]
    flow = open_flow(shipped_config, root)
    for asked in (flow.latent.fit, flow.latent.drawn("effects"), flow.latent.reader("labels_from")):
        with pytest.raises(
            UserError, match=r"labels_from is 'trained_here', but Blond_Hair is missing in annotation\."
        ):
            asked(SimpleNamespace())


def test_shards_and_batches_that_no_plan_has_are_named(shipped_config, root):
    flow = open_flow(shipped_config, root)
    other = SimpleNamespace(generator="parametric", shard="0123456789", batch="0123456789")
    for kind, asked in (("shard", flow.generation.recipe), ("batch", flow.annotation.shards(".tar"))):
        with pytest.raises(
            UserError, match=f"no {kind} of the generator parametric is called 0123456789: names follow"
        ):
            asked(other)


def _leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    else:
        yield path, value


def test_texts_that_cannot_be_are_sentences_at_every_key(shipped_config, root):
    shipped_config["generation"] |= {"generator": ["parametric", "diffusion", "stylegan3", "guided"], "also": None}
    shipped_config["annotation"]["accept_domain_shift"] = ["trained_here", "magface"]
    filled = check_config(shipped_config)
    for path, value in _leaves(filled):
        for wrong in [{"a": []}] * isinstance(value, str) + ["x" * 300] * (value is None or "/" in str(value)):
            config = deepcopy(filled)
            place = config
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = wrong
            try:
                open_flow(config, root)
            except UserError:
                continue
            assert isinstance(wrong, str), f"{path} may be {wrong}"
