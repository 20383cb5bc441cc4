"""A shard takes from earlier files what they have, and only the rest is drawn, or screened, again."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from drawing import Noise, kill_while_drawing
from evenface.generators import earlier, shards
from evenface.generators.earlier import note_earlier
from evenface.plan import paths
from evenface.plan.paths import set_file
from evenface.plan.shards import draws_of, recipe_digest
from evenface.screening import screen
from evenface.storage.shards import read_recipe, read_shard, write_shard
from plans import build_plan


@pytest.fixture
def small(config):
    """A configuration of four prompts with three images each, in shards of six."""
    config["generation"].update(images_per_prompt=3, images_per_shard=6)
    config["generation"]["prompts"]["factorial"] |= {"ethnicity": ["black"], "gender": ["female"], "age": ["young"]}
    return config


def draw(monkeypatch, recipe, out, generator=None, **resources):
    """The ids that were drawn to make ``out``."""
    generator = generator or Noise()
    monkeypatch.setattr(shards, "create", lambda *_: generator)
    shards.generate_shard(recipe, out, resources)
    return generator.asked


def size(recipe):
    """Number of pictures in a shard."""
    return sum(one["count"] for one in recipe["draws"])


def draw_all(monkeypatch, config, folder):
    """Draw every shard of a plan; the paths, and the ids that were drawn."""
    made, drawn = [], []
    for name, recipe in build_plan(config).shards.items():
        made.append(folder / f"{name}.tar")
        if not made[-1].exists():
            drawn += draw(monkeypatch, recipe, made[-1])
    return made, drawn


def same(paths, monkeypatch, config, folder):
    """Whether shards are, to the last byte, what a folder with nothing in it gets."""
    fresh, drawn = draw_all(monkeypatch, config, folder)
    assert len(drawn) == len(build_plan(config))
    return [p.name for p in fresh] == [p.name for p in paths] and all(
        a.read_bytes() == b.read_bytes() for a, b in zip(paths, fresh, strict=True)
    )


CHANGES = {
    "larger shards": lambda c: c["generation"].update(images_per_shard=12),
    "smaller shards": lambda c: c["generation"].update(images_per_shard=2),
    "more images": lambda c: c["generation"].update(images_per_prompt=5),
    "fewer prompts": lambda c: c["generation"]["prompts"]["factorial"].update(hair_colour=["gray", "blond"]),
    "more prompts": lambda c: c["generation"]["prompts"]["factorial"].update(age=["young", "senior"]),
}
DRAWN = {"more images": 8, "more prompts": 12}


@pytest.mark.parametrize("change", CHANGES)
def test_only_what_no_file_has_is_drawn(monkeypatch, small, tmp_path, change):
    before, drawn = draw_all(monkeypatch, small, tmp_path / "a")
    assert len(drawn) == 12
    kept = {path: path.read_bytes() for path in before}
    CHANGES[change](small)
    after, drawn = draw_all(monkeypatch, small, tmp_path / "a")
    assert len(drawn) == DRAWN.get(change, 0)
    assert {path: path.read_bytes() for path in before} == kept
    assert same(after, monkeypatch, small, tmp_path / "b")


def test_an_edited_prompt_is_drawn_and_no_other(monkeypatch, small, tmp_path):
    draw_all(monkeypatch, small, tmp_path / "a")
    plan = build_plan(small)
    edited = next(iter(plan.recipes.values()))["prompt"]
    for name, recipe in plan.shards.items():
        if any(d["prompt"] == edited for d in recipe["draws"]):
            text = json.dumps(recipe).replace(edited, "another prompt")
            recipe = json.loads(text)
            for one in recipe["draws"]:
                one["digest"] = recipe_digest({**one, **{k: recipe[k] for k in recipe if k != "draws"}, "digest": ""})
            drawn = draw(monkeypatch, recipe, tmp_path / "a" / "0123456789.tar")
            assert len(drawn) == 3 and len({d.rpartition("-")[0] for d in drawn}) == 1
            with read_shard(tmp_path / "a" / f"{name}.tar") as old, read_shard(tmp_path / "a/0123456789.tar") as new:
                alike = set(old.table["member"]) & set(new.table["member"])
                assert len(alike) == 3 and all(old.image_bytes(m) == new.image_bytes(m) for m in alike)


def test_older_than_the_weights_is_drawn_again(monkeypatch, small, tmp_path):
    (first, *_), _ = draw_all(monkeypatch, small, tmp_path)
    recipe = build_plan(small).shards[first.stem]
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "w.bin"
    weights.write_bytes(b"")
    os.utime(weights, ns=(0, first.stat().st_mtime_ns))
    os.utime(tmp_path / "model", ns=(0, 0))
    assert draw(monkeypatch, recipe, tmp_path / "0000000000.tar", files={"model": str(tmp_path / "model")}) == []
    os.utime(weights)
    (tmp_path / "0000000000.tar").unlink()
    drawn = draw(monkeypatch, recipe, tmp_path / "0000000000.tar", files={"model": str(tmp_path / "model")})
    assert len(drawn) == size(recipe)


def test_what_is_damaged_is_drawn_again(monkeypatch, small, tmp_path):
    made, _ = draw_all(monkeypatch, small, tmp_path / "a")
    fresh = [p.read_bytes() for p in made]
    with tarfile.open(made[0]) as archive:
        members = archive.getmembers()
    data = bytearray(fresh[0])
    data[members[1].offset_data + 4000] ^= 1  # a bit of the first picture
    made[0].rename(tmp_path / "a" / "1111111111.tar").write_bytes(data)
    made[1].rename(tmp_path / "a" / "2222222222.tar").write_bytes(fresh[1][:9000])  # and a file that was cut
    (tmp_path / "a" / "3333333333.tar").write_bytes(b"no archive")
    again, drawn = draw_all(monkeypatch, small, tmp_path / "a")
    assert len(drawn) == 1 + size(build_plan(small).shards[made[1].stem]) and [p.read_bytes() for p in again] == fresh


def test_shards_of_one_prompt_as_older_versions_wrote_them_are_used(monkeypatch, small, tmp_path):
    made, _ = draw_all(monkeypatch, small, tmp_path / "new")
    old = tmp_path / "old"
    for path in made:
        with read_shard(path) as shard:
            for one in draws_of(shard.recipe):
                digest = one.pop("digest")
                rows = [{k: v for k, v in r.items() if k != "recipe"} for r in shard.rows() if r["recipe"] == digest]
                images = [(r["member"], shard.image_bytes(r["member"])) for r in rows]
                write_shard(old / f"{one['cell']}-0000-{digest}.tar", images, recipe=one, rows=rows)
    assert len(list(old.iterdir())) == 4
    again, drawn = draw_all(monkeypatch, small, old)
    assert drawn == [] and [p.read_bytes() for p in again] == [p.read_bytes() for p in made]


def test_a_picture_begun_from_another_image_is_drawn_again(monkeypatch, small, tmp_path):
    recipe = next(iter(build_plan(small).shards.values()))
    images = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(images):
        path.write_bytes(bytes([i]))
    recipe["draws"] = [{**one, "images": [str(p) for p in images]} for one in recipe["draws"]]
    assert len(draw(monkeypatch, recipe, tmp_path / "a.tar")) == size(recipe)
    assert draw(monkeypatch, recipe, tmp_path / "b.tar") == []
    images[1].write_bytes(b"other")
    drawn = draw(monkeypatch, recipe, tmp_path / "c.tar")
    assert [name.rpartition("-")[2] for name in drawn] == ["00001"] * len(recipe["draws"])


def test_a_killed_job_goes_on_where_it_was(monkeypatch, small, tmp_path):
    small["generation"].update(images_per_prompt=10, images_per_shard=40)
    ((name, recipe),) = build_plan(small).shards.items()
    out = tmp_path / "a" / f"{name}.tar"
    kill_while_drawing(recipe, out, 20)
    drawn = draw(monkeypatch, recipe, out)
    assert 20 <= len(drawn) < 30
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    assert len(draw(monkeypatch, recipe, tmp_path / "b.tar")) == 40
    assert out.read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.fixture
def screened(monkeypatch, small, tmp_path):
    """A folder with two screened shards, a shard of all their pictures, and what was looked at since."""
    found = []
    monkeypatch.setattr(screen.Screener, "locate", looked_at(found))
    made, _ = draw_all(monkeypatch, small, tmp_path)
    for path in made:
        screen.screen_shard(path, SETTINGS, *outputs(path))
    assert len(found) == 12
    found.clear()
    small["generation"]["images_per_shard"] = 12
    (both,), drawn = draw_all(monkeypatch, small, tmp_path)
    assert drawn == []
    return both, made, found


SETTINGS = {"detector": "none", "framing": "squeeze"}


def looked_at(found):
    """The method that judges a picture: every third is rejected."""

    def locate(self, image_id, image):
        found.append(image_id)
        reason = "no_face" if image_id.endswith("1") else ""
        row = {"image_id": image_id, "accepted": not reason, "reason": reason, "detail": "", "n_faces": -1,
               "quality": np.nan}  # fmt: skip
        return row, None

    return locate


def outputs(path):
    return path.with_name(f"{path.stem}.screen.parquet"), path.with_name(f"{path.stem}.aligned.tar")


def test_what_was_screened_is_not_screened_again(screened, tmp_path):
    both, _, found = screened
    screen.screen_shard(both, SETTINGS, *outputs(both))
    assert found == []
    alone = tmp_path / "alone" / both.name
    alone.parent.mkdir()
    both.rename(alone)
    screen.screen_shard(alone, SETTINGS, *outputs(alone))
    assert len(found) == 12
    assert [p.read_bytes() for p in outputs(alone)] == [p.read_bytes() for p in outputs(both)]


def test_other_settings_newer_models_and_other_pictures_are_screened(screened, tmp_path):
    both, made, found = screened
    screen.screen_shard(both, SETTINGS | {"jpeg_quality": 90}, *outputs(both))
    assert len(found) == 12
    found.clear()
    model = tmp_path / "model.dat"
    model.write_bytes(b"")
    screen.screen_shard(both, SETTINGS, *outputs(both), weights={"dlib5": str(model)})
    assert len(found) == 12
    found.clear()
    outputs(made[0])[1].write_bytes(b"damaged")
    with read_shard(made[0]) as shard:
        count = len(shard.rows())
    screen.screen_shard(both, SETTINGS, *outputs(both))
    assert len(found) == count < 12
    found.clear()
    for path in made:
        os.utime(path)  # drawn again since it was screened
    screen.screen_shard(both, SETTINGS, *outputs(both))
    assert len(found) == 12


def test_prune_keeps_what_a_missing_shard_would_copy(monkeypatch, root, tmp_path, capsys):
    from evenface.__main__ import load_settings, main

    monkeypatch.chdir(tmp_path)
    text = "generation: {also: null, images_per_prompt: 1, images_per_shard: %d}\n"
    (tmp_path / "mine.yaml").write_text(text % 20)
    folder = tmp_path / "data/synthetic/parametric"
    made, _ = draw_all(monkeypatch, load_settings("mine.yaml"), folder)
    stale = [
        folder / "quality/0123456789.parquet",
        folder / "c-0001-0123456789.tar",
        folder / "0123456789.screen.parquet",
    ]
    (folder / "quality").mkdir()
    for path in [*stale, folder / "acceptance.csv", folder / f"{made[0].stem}.1-0.drawn.tar"]:
        path.write_bytes(b"")
    (tmp_path / "mine.yaml").write_text(text % 40)
    command = ["--configfile", "mine.yaml", "prune", "--delete"]
    assert main(command) == 0
    assert sorted(capsys.readouterr().out.splitlines()[:-1]) == sorted(str(p.relative_to(tmp_path)) for p in stale)
    new, drawn = draw_all(monkeypatch, load_settings("mine.yaml"), folder)
    assert drawn == [] and main(command) == 0
    assert sorted(p.name for p in folder.iterdir()) == sorted([p.name for p in new] + ["acceptance.csv", "quality"])


def test_files_that_belong_together_are_paired_by_what_their_paths_say():
    shards = ["0123456789", "abcdef0123"]
    images, tables = (
        [paths.shard_file("x", shard, end) for shard in shards] for end in (paths.IMAGES, paths.SCREENING)
    )
    assert paths.by_shard(images, tables) == (images, tables)
    for wrong in (tables[::-1], tables[:1]):
        with pytest.raises(ValueError):
            paths.by_shard(images, wrong)
    logs = [f"results/models/real/{seed}/log.csv" for seed in (1, 2)]
    marks = {f"real-{seed}": f"/real/{seed}/" for seed in (1, 2)}
    assert paths.by_name(marks, logs) == dict(zip(marks, logs))
    for wrong in (logs[::-1], logs[:1]):
        with pytest.raises(ValueError):
            paths.by_name(marks, wrong)


@pytest.mark.parametrize("change", CHANGES)
def test_with_a_note_jobs_look_into_few_files_and_find_the_same(monkeypatch, small, tmp_path, change):
    """Before the first job it is noted which files have something for which shard."""
    monkeypatch.chdir(tmp_path)
    folder = Path(set_file(small["generation"]["generator"], ""))
    draw_all(monkeypatch, small, folder)
    CHANGES[change](small)
    planned = build_plan(small).shards
    note_earlier(folder.name, planned)
    looked = []
    monkeypatch.setattr(earlier, "read_recipe", lambda path: looked.append(path) or read_recipe(path))
    after, drawn = draw_all(monkeypatch, small, folder)
    assert len(drawn) == DRAWN.get(change, 0)
    assert not {path.stem for path in looked} & set(planned)
    assert same(after, monkeypatch, small, tmp_path / "b")


def test_a_note_leaves_room_for_what_a_killed_job_has_drawn(monkeypatch, small, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = Path(set_file(small["generation"]["generator"], ""))
    name, recipe = next(iter(build_plan(small).shards.items()))
    note_earlier(folder.name, {name: recipe})
    draw(monkeypatch, recipe, folder / f"{name}.1-0.drawn.tar")
    assert draw(monkeypatch, recipe, folder / f"{name}.tar") == []
    assert [path.name for path in folder.iterdir()] == [f"{name}.tar"]
