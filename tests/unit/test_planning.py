"""The plan: what is asked for, under which names, with which seeds."""

import math
import subprocess
import sys
import time
from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evenface.errors import UserError
from evenface.plan.shards import (
    COMMON,
    Plan,
    build_plans,
    draws_of,
    recipe_digest,
    requests_of,
    shard_batches,
    shards_of,
)
from evenface.plan.subset import balanced_subset
from evenface.prompts.attributes import ATTRIBUTE_PHRASES, HAIR_ATTRIBUTES
from evenface.prompts.catalogue import build_catalogue, check, factorial
from evenface.prompts.reading import read_prompt
from evenface.prompts.vocabulary import clip_cut, clip_tokens_at_least
from evenface.taxonomy import HAIR_COLOURS
from plans import build_plan


def images(plan) -> dict[str, int]:
    """Request id -> seed over all shards."""
    return {r.request_id: r.seed for recipe in plan.recipes.values() for r in requests_of(recipe)}


def test_the_shipped_plan_is_a_balanced_factorial(config):
    plan = build_plan(config)
    cells = Counter((r["ethnicity"], r["gender"], r["age"], r["cell"].split("-")[3]) for r in plan.recipes.values())
    assert len(cells) == 72 and set(cells.values()) == {1}
    assert len(images(plan)) == len(plan) == 72 * config["generation"]["images_per_prompt"]
    assert len(set(images(plan).values())) == len(plan)
    for recipe in plan.recipes.values():
        assert recipe["attributes"][HAIR_COLOURS[recipe["cell"].split("-")[3]]] == 1


def test_leaving_out_prompts_touches_no_other_recipe(config):
    before = build_plan(config)
    edited = deepcopy(config)
    edited["generation"]["prompts"]["factorial"]["hair_colour"] = ["black", "blond", "brown"]
    fewer = build_plan(edited)
    assert set(fewer.recipes) == {n for n, r in before.recipes.items() if "Gray_Hair" not in r["attributes"]}


def test_undoing_an_edit_finds_the_old_names(config):
    edited = deepcopy(config)
    edited["generation"]["negative_prompt"] += ", sepia"
    assert not set(build_plan(config).recipes) & set(build_plan(edited).recipes)
    edited["generation"]["negative_prompt"] = config["generation"]["negative_prompt"]
    assert build_plan(config).shards == build_plan(edited).shards


def members(plan) -> dict[str, set]:
    """Shard -> its pictures, as (recipe, number)."""
    return {
        name: {(d["digest"], i) for d in draws_of(recipe) for i in range(d["first"], d["first"] + d["count"])}
        for name, recipe in plan.shards.items()
    }


@pytest.mark.parametrize(("images", "size"), [(10, None), (10, 40), (25, 10), (700, None), (1, 1)])
def test_every_picture_is_in_one_shard_of_no_more_than_the_wanted_size(config, images, size):
    config["generation"].update(images_per_prompt=images, images_per_shard=size)
    plan = build_plan(config)
    asked = [picture for there in members(plan).values() for picture in there]
    digests = {recipe_digest(recipe) for recipe in plan.recipes.values()}
    assert sorted(asked) == sorted((digest, i) for digest in digests for i in range(images))
    assert max(len(there) for there in members(plan).values()) <= (size or 4096)
    if size is None:
        assert len(plan.shards) == 2 if images == 10 else 12 < len(plan.shards) < 40


def test_an_edited_prompt_moves_no_other_one(config):
    config["generation"]["images_per_shard"] = 40
    before = members(build_plan(config))
    text = config["generation"]["prompts"]["factorial"]["template"]
    for place in (0, 20, 71):
        recipes = list(build_plan(config).recipes.values())
        edited = {**recipes[place], "prompt": text}
        changed = [*recipes[:place], edited, *recipes[place + 1 :]]
        named = {f"{r['cell']}-{recipe_digest(r)}": r for r in changed}
        after = members(Plan("parametric", named, shards_of(named, 40, {})))
        lost, new = set(before) - set(after), set(after) - set(before)
        # The prompt leaves one shard and joins another; each may be parted, or joined to its neighbour.
        assert 1 <= len(lost) <= 4 and 1 <= len(new) <= 4


def test_a_prompts_order_in_the_catalogue_is_in_no_shard(config):
    plan = build_plan(config)
    backwards = dict(reversed(plan.recipes.items()))
    assert shards_of(backwards, None, {}) == plan.shards and Plan("parametric", backwards, {}).order == plan.order[::-1]


def test_several_generators_draw_the_same_catalogue(config):
    one = build_plan(config)
    config["generation"].update(
        generator=["parametric", "diffusion"], images_per_prompt={"parametric": 10, "diffusion": 2}
    )
    plans = build_plans(config)
    assert list(plans) == ["parametric", "diffusion"] and plans["parametric"].recipes == one.recipes
    assert build_plan(config) == plans["parametric"]
    other = plans["diffusion"]
    assert len(other) == 2 * 72 and not set(other.shards) & set(one.shards)
    assert {r["prompt"] for r in other.recipes.values()} == {r["prompt"] for r in one.recipes.values()}


def _level(prompt, dimension):
    if dimension == "hair":
        return next(c for c, name in HAIR_COLOURS.items() if prompt.attributes.get(name) == 1)
    return prompt.demographics[dimension]


def test_a_subset_of_the_prompts_is_balanced_and_grows(config):
    prompts = factorial(config["generation"]["prompts"]["factorial"], seed=1)
    twelve = balanced_subset(prompts, 12, seed=1)
    assert twelve == sorted(twelve, key=prompts.index)

    def count(*dimensions):
        return Counter(tuple(_level(p, d) for d in dimensions) for p in twelve)

    for dimension, each in (("gender", 6), ("age", 4), ("ethnicity", 4), ("hair", 3)):
        assert set(count(dimension).values()) == {each}
    assert max(count("ethnicity", "hair").values()) <= 2 and max(count("gender", "ethnicity").values()) <= 3
    for larger in (13, 30, 72, 100):
        chosen = balanced_subset(prompts, larger, seed=1)
        assert len(chosen) == min(larger, 72) and all(p in chosen for p in twelve)
    assert twelve != balanced_subset(prompts, 12, seed=2)


def test_a_generator_draws_its_subset(config):
    config["generation"].update(generator="parametric", also={"diffusion": 12})
    plans = build_plans(config)
    assert len(plans["parametric"].recipes) == 72 and len(plans["diffusion"].recipes) == 12
    config["generation"]["also"]["diffusion"] = None
    assert len(build_plans(config)["diffusion"].recipes) == 72
    config["generation"].update(generator="diffusion", also={"diffusion": 12})
    (plan,) = build_plans(config).values()
    assert len(plan.recipes) == 72, "the main generator draws everything"


def test_more_images_per_prompt_change_no_recipe(config):
    more = deepcopy(config)
    more["generation"]["images_per_prompt"] *= 2
    before, after = build_plan(config).recipes, build_plan(more).recipes
    assert list(before) == list(after) and all(after[name]["count"] == 2 * before[name]["count"] for name in before)


@given(size=st.integers(1, 40))
def test_shard_size_changes_no_image(size):
    base = {
        "seed": 3,
        "generation": {
            "generator": "parametric",
            "images_per_prompt": 17,
            "images_per_shard": 17,
            "negative_prompt": "",
            "settings": {},
            "prompts": {
                "factorial": {
                    "ethnicity": ["asian"], "gender": ["male"], "age": ["young"], "hair_colour": ["gray", "black"],
                    "prompts_per_cell": 1, "template": "{ethnicity} {gender} {age} {hair}", "traits": [],
                    "traits_per_prompt": 0,
                }
            },
        },
    }  # fmt: skip
    other = deepcopy(base)
    other["generation"]["images_per_shard"] = size
    assert images(build_plan(base)) == images(build_plan(other))
    there = {p for pictures in members(build_plan(base)).values() for p in pictures}
    assert there == {p for pictures in members(build_plan(other)).values() for p in pictures}


def test_traits_do_not_depend_on_the_group(config):
    """With many prompts per cell each trait is equally frequent in every ethnicity."""
    settings = deepcopy(config["generation"]["prompts"]["factorial"])
    settings |= {"prompts_per_cell": 40, "traits_per_prompt": 3}
    prompts = factorial(settings, seed=0)
    counts = {e: Counter() for e in settings["ethnicity"]}
    for prompt in prompts:
        counts[prompt.demographics["ethnicity"]].update(set(prompt.attributes) - set(HAIR_COLOURS.values()))
    totals = {e: sum(c.values()) for e, c in counts.items()}
    assert len(set(totals.values())) == 1
    for trait in counts["white"]:
        shares = [counts[e][trait] / totals[e] for e in counts]
        assert max(shares) - min(shares) < 0.06


def test_planning_fifty_thousand_prompts_is_quick_and_needs_no_torch(root, tmp_path):
    code = (
        "import sys, time, yaml; sys.path.insert(0, 'workflow_scripts')\n"
        "from evenface.configuration import check_config\n"
        "from evenface.plan.shards import build_plans\n"
        "config = check_config(yaml.safe_load(open('config.yaml')))\n"
        "open('PATH', 'w').write('prompt\\n' + ''.join(f'portrait number {i}\\n' for i in range(50000)))\n"
        "config['generation'].update(images_per_prompt=2, images_per_shard=10, prompts={'file': 'PATH'})\n"
        "start = time.process_time(); (plan, *_) = build_plans(config).values(); seconds = time.process_time() - start\n"
        "assert 10000 < len(plan.shards) < 20000 and len(plan) == 100000, len(plan.shards)\n"
        "assert not {'torch', 'numba', 'cv2', 'pandas'} & set(sys.modules)\n"
        "print(seconds)\n"
    ).replace("PATH", str(tmp_path / "prompts.csv"))
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert float(out.stdout) < 30


def test_many_prompts_without_a_cell_get_different_ones_in_any_order(config, tmp_path):
    """Six hexadecimal digits name a cell; texts that share them get longer names, and nothing else changes."""

    def cells(numbers):
        lines = [f"portrait number {i}" for i in numbers]
        (tmp_path / "prompts.txt").write_text("\n".join(lines))
        settings = {**config["generation"]["prompts"], "factorial": None, "file": "prompts.txt"}
        return {prompt.text: prompt.cell for prompt in build_catalogue(settings, seed=1, base=tmp_path)}

    many = cells(range(30000))
    assert cells(reversed(range(30000))) == many and len(set(many.values())) == len(many)
    longer = {text: cell for text, cell in many.items() if len(cell) > 6}
    assert 0 < len(longer) < 200 and {len(cell) for cell in longer.values()} == {23}
    few = cells(range(100))
    assert few.items() <= many.items() and {len(cell) for cell in few.values()} == {6}


def test_shards_with_the_same_digest_are_both_kept():
    """Two of 1.3 million have the same ten digits; found by trying."""
    shared = dict.fromkeys(COMMON, 1)
    recipes = {f"{text}-0000000000": {**shared, "prompt": text, "count": 1} for text in ("598206", "952678")}
    made = shards_of(recipes, 1, {})
    assert sorted(shard["draws"][0]["prompt"] for shard in made.values()) == sorted(
        r["prompt"] for r in recipes.values()
    )
    assert "4dfee982d7" in made and list(made) == list(shards_of(recipes, 1, {}))


def some_shards(config):
    config["generation"]["images_per_shard"] = 10
    return list(build_plan(config).shards)


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_every_shard_is_in_one_batch(config, size):
    shards = some_shards(config)
    batches = shard_batches(shards, size)
    assert sorted(s for members in batches.values() for s in members) == sorted(shards)
    assert len(batches) <= 2 ** math.ceil(math.log2(max(len(shards) / size, 1)))
    assert batches == shard_batches(shards[::-1], size)
    assert shard_batches([], size) == {}


def test_a_replaced_shard_changes_the_batches_it_leaves_and_joins(config):
    before = some_shards(config)
    after = [*before[1:], "0123456789"]
    old, new = shard_batches(before, 8), shard_batches(after, 8)
    assert len(set(new) - set(old)) <= 2 and len(set(old) - set(new)) <= 2
    assert any("0123456789" in members for members in new.values())


def test_digest_ignores_key_order_and_sees_every_value(config):
    recipe = next(iter(build_plan(config).recipes.values()))
    assert recipe_digest(dict(reversed(recipe.items()))) == recipe_digest(recipe)
    for key, value in recipe.items():
        if key == "count":  # an image is the same however many there are
            assert recipe_digest({**recipe, key: value + 1, "first": 3}) == recipe_digest(recipe)
            continue
        changed = {**recipe, key: "other" if not isinstance(value, int) else value + 1}
        assert recipe_digest(changed) != recipe_digest(recipe), key


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.txt", "\n \n", "empty"),
        ("p.txt", "a white man\na white man\n", "same prompt as"),
        ("p.txt", "a man with a goatee and no beard\n", "Goatee"),
        ("p.txt", "a young elderly man\n", "age is both"),
        ("p.txt", "a man, " + "very " * 90 + "tall\n", "CLIP tokens"),
        ("p.csv", "text,gender\nx,male\n", "column 'prompt' is missing"),
        ("p.csv", "prompt,gendr\nx,male\n", "'gendr' is not known"),
        ("p.csv", "prompt,gender\nx,mail\n", "row 2, gender: 'mail'"),
        ("p.csv", "prompt,Smiling\nx,yes\n", "row 2: Smiling is 'yes'"),
        ("p.csv", "prompt\n,\n", "empty"),
        ("p.csv", "prompt,Black_Hair,Gray_Hair\nx,1,1\n", "Black_Hair together with Gray_Hair"),
    ],
)
def test_bad_prompt_files_are_refused_with_their_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        build_catalogue({"file": name}, seed=0, base=tmp_path)
    assert name in str(caught.value)


def test_signs_of_weights_are_not_counted_as_tokens(tmp_path):
    (tmp_path / "p.txt").write_text("a woman, " + "(kind:1.4), " * 30 + "smiling\n")
    assert build_catalogue({"file": "p.txt"}, seed=0, base=tmp_path)
    assert clip_cut("one two three", 2) == "three" and clip_cut("one two three", 3) == ""


def test_a_missing_and_a_binary_prompt_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        build_catalogue({"file": "none.txt"}, seed=0, base=tmp_path)
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="UTF-8"):
        build_catalogue({"file": "b.txt"}, seed=0, base=tmp_path)


def test_inserting_a_line_shifts_no_other_cell(tmp_path):
    (tmp_path / "a.txt").write_text("a white man with black hair\nan Asian woman with gray hair\n")
    (tmp_path / "b.txt").write_text("a Black woman\n\na white man with black hair\nan Asian woman with gray hair\n")
    first = build_catalogue({"file": "a.txt"}, seed=0, base=tmp_path)
    second = build_catalogue({"file": "b.txt"}, seed=0, base=tmp_path)
    assert [p.cell for p in first] == [p.cell for p in second[1:]]
    assert second[0].demographics == {"gender": "female", "age": "unknown", "ethnicity": "black"}


def test_words_are_read_as_words():
    demographics, attributes, *_ = read_prompt("portrait of a woman with black hair, wearing glasses")
    assert demographics == {"gender": "female", "age": "unknown", "ethnicity": "unknown"}
    assert attributes == {"Black_Hair": 1, "Eyeglasses": 1}
    assert read_prompt("a black man with no beard")[0]["ethnicity"] == "black"
    assert read_prompt("a black man with no beard")[1] == {"No_Beard": 1}
    assert read_prompt("that matters")[1] == {}


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_reading_any_prompt_never_fails(text):
    read_prompt(text)
    assert clip_tokens_at_least(text) >= 0


def test_an_empty_catalogue_is_refused():
    with pytest.raises(UserError, match="the catalogue is empty"):
        check([])


def test_planning_time_is_linear(config):
    def seconds(images):
        config["generation"].update(images_per_prompt=images, images_per_shard=1)
        start = time.process_time()
        assert len(build_plan(config).shards) == 72 * images
        return time.process_time() - start

    # Ten times the images. The best of a few, and four times that, since another program or the collector of garbage may
    # get in the way; a quadratic plan takes a hundred times as long.
    assert min(seconds(400) for _ in range(3)) < 40 * min(seconds(40) for _ in range(3))


def test_several_prompts_of_a_cell_differ_and_add_to_those_there_are(config):
    """The shipped traits, one a prompt, for eight prompts a cell: every trait once."""
    before = build_plan(config).recipes
    config["generation"]["prompts"]["factorial"]["prompts_per_cell"] = 8
    after = build_plan(config).recipes
    assert len(after) == 8 * len(before) and set(before) < set(after)
    config["generation"]["prompts"]["factorial"]["prompts_per_cell"] = 9
    with pytest.raises(UserError, match=r"prompts_per_cell is 9, but the traits hardly give .* more than 8 different"):
        build_plan(config)


def test_traits_that_contradict_each_other_are_not_drawn_together(config):
    settings = config["generation"]["prompts"]["factorial"]
    settings |= {"traits": ["goatee", "no beard", "smiling", "bald"], "traits_per_prompt": 2, "prompts_per_cell": 3}
    prompts = build_catalogue(config["generation"]["prompts"], seed=0)
    assert len(prompts) == 216 and not any("bald" in p.text for p in prompts)
    settings |= {"traits_per_prompt": 4}
    with pytest.raises(UserError, match="the traits hardly give cell asian-female-young-black more than 0"):
        build_catalogue(config["generation"]["prompts"], seed=0)


def test_a_template_that_leaves_out_an_axis_says_so(config):
    settings = config["generation"]["prompts"]["factorial"]
    settings["template"] = "photo of a {age} {gender} with {hair}{traits}"
    with pytest.raises(UserError, match=r"does not contain \{ethnicity\}, but 3 levels are listed"):
        build_plan(config)
    settings["ethnicity"] = ["white"]
    assert len(build_plan(config).recipes) == 24
    settings["template"] = "photo of a {age} {gender} with {hair}"
    with pytest.raises(UserError, match=r"does not contain \{traits\}; put it in, or set traits_per_prompt to 0"):
        build_plan(config)


def test_the_phrases_that_docs_prompts_md_lists_are_understood(root):
    text = (root / "docs/prompts.md").read_text().split("<!-- phrases -->")[1].split("<!-- end -->")[0]
    phrases = [" ".join(phrase.split()) for phrase in text.strip().rstrip(".").split(",")]
    assert {a for p in phrases for a in read_prompt(p)[1]} == {*(a for _, a, _ in ATTRIBUTE_PHRASES), *HAIR_ATTRIBUTES}
    assert all(read_prompt(phrase)[1] for phrase in phrases)


def _of_parametric(config, base, name, text):
    (base / name).write_text(text)
    config["generation"] |= {"also": {}, "prompts": {"factorial": None, "contextual": None, "file": str(base / name)}}
    return [recipe["attributes"] for recipe in build_plans(config, base=base)["parametric"].recipes.values()]


def test_what_a_generator_does_not_show_is_not_asked_of_it_by_words(config, tmp_path):
    assert _of_parametric(config, tmp_path, "p.txt", "a smiling woman with earrings\n") == [{"Smiling": 1}]
    assert _of_parametric(config, tmp_path, "p.csv", "prompt,Wearing_Necktie\na man,-1\n") == [{}]
    with pytest.raises(
        UserError, match=r"p\.csv row 2: the parametric generator cannot show Wearing_Earrings; .* columns"
    ):
        _of_parametric(config, tmp_path, "p.csv", "prompt,Wearing_Earrings\na woman,1\n")
    with pytest.raises(UserError, match=r"p\.txt line 2: a beard is asked for on a female face, .* columns"):
        _of_parametric(config, tmp_path, "p.txt", "a man\na woman with a goatee\n")
    assert _of_parametric(config, tmp_path, "p.csv", "prompt,Goatee\na woman with a goatee,0\n") == [{}]
    config["generation"]["generator"] = "diffusion"
    (tmp_path / "p.txt").write_text("a woman with earrings\n")
    config["generation"]["prompts"]["file"] = str(tmp_path / "p.txt")
    [recipe] = build_plans(config, base=tmp_path)["diffusion"].recipes.values()
    assert recipe["attributes"] == {"Wearing_Earrings": 1}


def test_the_plan_is_shown_as_the_workflow_would_have_it(root, tmp_path, capsys):
    """A configuration of a few keys is merged over the shipped one, as Snakemake does."""
    from evenface.__main__ import main

    (tmp_path / "mine.yaml").write_text("generation: {prompts: {factorial: {gender: [female], prompts_per_cell: 2}}}\n")
    assert main(["plan", "show", "--configfile", str(tmp_path / "mine.yaml"), "--prompts"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prompts: every combination of levels (generation.prompts.factorial)"
    first = next(i for i, line in enumerate(lines) if line.startswith("parametric: "))
    assert lines[first] == "parametric: 720 images of 72 prompts in 2 shards, data/synthetic/parametric/"
    assert lines[first + 1 : first + 4] == [
        "  gender      female 720",
        "  age         young 240  middle_aged 240  senior 240",
        "  ethnicity   asian 240  black 240  white 240",
    ]
    assert lines[first + 4].startswith("  asked for   Big_Lips ") and "Black_Hair 180" in lines[first + 4]
    assert max(map(len, lines[: first + 6])) <= 110
    assert sum(line.count("\t") == 2 for line in lines) >= 72
