"""Contextual prompts: the grammar, the checks, and the files that models write."""

import itertools
import json
import random
import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.plan.shards import build_plans
from evenface.plan.subset import balanced_subset
from evenface.prompts import cues, grammar
from evenface.prompts.association import associations, words_of
from evenface.prompts.catalogue import build_catalogue, review_catalogue
from evenface.prompts.contextual import (
    MissingPrompts,
    contextual,
    prompt_writing,
    without_person,
    written_file,
)
from evenface.prompts.findings import CHECKS
from evenface.prompts.reading import read_prompt
from evenface.prompts.tables import rows_digest
from evenface.prompts.vocabulary import CLIP_PROMPT_TOKENS, clip_tokens_at_least, words_for
from evenface.storage.text_tables import read_table
from evenface.taxonomy import CELEBA_ATTRIBUTES, DIMENSIONS, HAIR_COLOURS
from plans import build_plan

HAIR = list(HAIR_COLOURS.values())


@pytest.fixture
def settings(shipped_config, schema):
    """Settings of contextual prompts with the schema's defaults, changed by keywords."""

    def make(**changes):
        config = deepcopy(shipped_config)
        config["generation"]["prompts"] = {"factorial": None, "contextual": changes}
        return check_config(config)["generation"]["prompts"]["contextual"]

    return make


SMALL = {"ethnicity": ["asian", "black"], "gender": ["female", "male"], "age": [], "hair_colour": ["black", "gray"]}
MODEL = {"writer": "openai", "openai": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}


def by_group(cases):
    """Cell without the context's digest -> contexts."""
    found = {}
    for case in cases:
        found.setdefault(case.prompt.cell.rpartition("-")[0], []).append(case.context)
    return found


# --- the grammar ---


def test_the_grammar_says_nothing_of_groups_and_negates_nothing():
    built_in = [(slot, one) for slot, kinds in grammar.PHRASES.items() for some in kinds.values() for one in some]
    for slot, phrase in built_in:
        assert cues.group_cues(phrase) == [] and cues.negations(phrase) == [], (slot, phrase)
        assert set(read_prompt(phrase)[0].values()) == {"unknown"}
        assert cues.attribute_cues(phrase, HAIR) == [], (slot, phrase)


def test_the_words_of_levels_are_known_as_cues():
    for dimension, levels in DIMENSIONS.items():
        for level in levels:
            word = words_for(dimension, level)
            assert (dimension, level) in {(c.of, c.level) for c in cues.group_cues(f"a {word} person")}


@pytest.mark.parametrize("attribute", CELEBA_ATTRIBUTES)
def test_no_context_touches_a_protected_attribute(attribute):
    drawn = grammar.Grammar.build([], {}, [attribute]).contexts(30, seed=5)
    for context in drawn:
        text = grammar.text_of(context)
        assert not cues.attribute_cues(text, [attribute])
        assert attribute not in read_prompt(text)[1]


def test_the_longest_prompt_of_the_grammar_fits_clip(settings):
    """By words: every slot's longest phrase beside the longest person."""
    longest = sum(
        1 + max(clip_tokens_at_least(p) for k in kinds.values() for p in k) for kinds in grammar.PHRASES.values()
    )
    person = clip_tokens_at_least("portrait photo of a middle-aged Asian woman with brown hair, smiling broadly")
    assert longest + person < CLIP_PROMPT_TOKENS - 5


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_every_group_gets_the_same_phrases_equally_often(settings, design):
    made = contextual(settings(**SMALL, prompts_per_cell=21, design=design), seed=3)
    assert made.findings == [] and len(made.cases) == 8 * 21
    groups = by_group(made.cases)
    assert len(groups) == 8
    phrases = [Counter(p for context in contexts for p in context.split(", ")) for contexts in groups.values()]
    assert all(one == phrases[0] for one in phrases)
    assert all(len(set(contexts)) == 21 for contexts in groups.values())
    same = [set(a) == set(b) for a, b in itertools.combinations(groups.values(), 2)]
    assert all(same) if design == "paired" else not any(same)


def test_a_setting_stays_together_in_both_designs(settings):
    """No group is shown on a beach with window light."""
    for design in ("paired", "independent"):
        for case in contextual(settings(**SMALL, prompts_per_cell=40, design=design), seed=1).cases:
            said = set(case.context.split(", "))
            kinds = [
                {k for k in grammar.KINDS if said & set(grammar.PHRASES[s][k])}
                for s in ("place", "light", "background")
            ]
            assert set.intersection(*kinds), case.context


def test_the_grammar_is_deterministic_in_any_process(settings, root):
    made = [case.prompt.text for case in contextual(settings(**SMALL, design="independent"), seed=3).cases]
    code = (
        "import sys, json; sys.path.insert(0, 'workflow_scripts')\n"
        "from evenface.prompts.contextual import contextual\n"
        "print(json.dumps([c.prompt.text for c in contextual(json.loads(sys.argv[1]), seed=3).cases]))"
    )
    for hash_seed in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code, json.dumps(settings(**SMALL, design="independent"))],
            cwd=root, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hash_seed},
        )  # fmt: skip
        assert json.loads(out.stdout) == made


def test_more_prompts_per_cell_keep_those_that_were_there(settings):
    few = {c.prompt.cell: c.prompt.text for c in contextual(settings(**SMALL, prompts_per_cell=8), seed=3).cases}
    many = {c.prompt.cell: c.prompt.text for c in contextual(settings(**SMALL, prompts_per_cell=20), seed=3).cases}
    assert set(few.items()) < set(many.items())
    one, two = (
        {c.prompt.text for c in contextual(settings(**SMALL, prompts_per_cell=n, design="independent"), seed=3).cases}
        for n in (grammar.BLOCK, 2 * grammar.BLOCK)
    )
    assert one < two


def test_another_level_changes_no_other_group(settings):
    for design in ("paired", "independent"):
        fewer = contextual(settings(**SMALL, design=design), seed=3).cases
        more = contextual(settings(**{**SMALL, "ethnicity": ["asian", "black", "white"]}, design=design), seed=3).cases
        assert {c.prompt.text for c in fewer} < {c.prompt.text for c in more}


def test_what_a_context_says_of_the_face_is_recorded(settings):
    cases = contextual(settings(**SMALL, prompts_per_cell=60), seed=3).cases
    smiling = [case for case in cases if "smiling" in case.context]
    assert smiling and all(case.prompt.attributes["Smiling"] == 1 for case in smiling)
    assert all(case.prompt.demographics["age"] == "unknown" for case in cases)
    kept = contextual(settings(**SMALL, prompts_per_cell=60, protect=["Smiling"]), seed=3).cases
    assert not any("Smiling" in c.prompt.attributes or "expression" in c.context for c in kept)


def test_further_target_attributes_are_crossed_with_the_groups(settings):
    """The four groups of AIM-Fair's first task."""
    phrases = {"Smiling": {"present": "smiling", "absent": "neutral expression, lips together"}}
    made = contextual(settings(ethnicity=[], age=[], hair_colour=[], attributes=phrases, prompts_per_cell=5), seed=0)
    assert made.findings == []
    assert {c.prompt.cell.rpartition("-")[0]: c.prompt.attributes["Smiling"] for c in made.cases} == {
        "female-smiling": 1, "female-not-smiling": -1, "male-smiling": 1, "male-not-smiling": -1,
    }  # fmt: skip
    assert made.cases[0].prompt.text.startswith("portrait photo of a woman, smiling, ")
    assert not any(cues.attribute_cues(case.context, ["Smiling"]) for case in made.cases)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": "photo of {person}"}, "must have both {person} and {context}"),
        ({"template": "{who} {person} {context}"}, r"template cannot be filled in \('who'\)"),
        ({"grammar": {"slots": ["weather"]}}, "slots: 'weather' is not known .choose from expression, pose"),
        ({"grammar": {"phrases": {"mood": ["golden hour"]}}}, r"phrases\.mood: 'golden hour' touches the attribute"),
        ({"grammar": {"phrases": {"dress": ["wearing a kimono"]}}}, "points at ethnicity 'asian' \\('kimono'\\)"),
        ({"grammar": {"phrases": {"dress": ["no jacket"]}}}, r"negates \('no'\)"),
        ({"grammar": {"slots": ["expression"]}, "protect": ["Smiling"]}, "every phrase mentions"),
        ({"grammar": {"slots": ["pose"]}, "prompts_per_cell": 11}, "only about 10 different contexts, but needs 11"),
        ({"ethnicity": [], "gender": [], "age": [], "hair_colour": []}, "every axis is empty"),
        ({"attributes": {"Smiling": {"present": "smiling", "absent": "not smiling"}}}, r"negates \('not'\)"),
        ({"attributes": {"Smiling": {"present": "smiling", "absent": "a smile"}}}, "asks for the opposite"),
        ({"attributes": {"Smiling": {"present": "calm", "absent": "serious"}}}, "says nothing of Smiling"),
        ({"attributes": {"Male": {"present": "man", "absent": "woman"}}}, "contradiction, gender is said twice"),
    ],
)
def test_settings_that_give_no_catalogue_name_their_key(settings, changes, message):
    with pytest.raises(UserError, match=message) as caught:
        contextual(settings(**{**SMALL, **changes}), seed=0)
    assert "generation.prompts.contextual" in str(caught.value)


def test_a_grammar_of_ones_own(settings):
    own = {"slots": ["place", "weather"], "phrases": {"weather": ["in the rain", "in the snow"]}}
    made = contextual(settings(**SMALL, grammar=own, prompts_per_cell=12), seed=0)
    assert all(re.search(r", in the (rain|snow)$", case.context) for case in made.cases)
    dropped = contextual(settings(**SMALL, forbidden=["camera"], prompts_per_cell=30), seed=0)
    assert not any("camera" in case.context for case in dropped.cases)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"factorial": {}, "contextual": {}},
            "exactly one of factorial, contextual and file; it has factorial and context",
        ),
        ({"factorial": None}, "exactly one of factorial, contextual and file; it has none"),
        ({"factorial": None, "contextual": {"writer": "openai"}}, r"openai\.base_url is missing"),
        ({"factorial": None, "contextual": {"writer": "transformers"}}, r"transformers\.folder is missing"),
        ({"factorial": None, "contextual": {"ask": "prompts"}}, "the grammar writes contexts"),
        ({"factorial": None, "contextual": {"writer": "gpt"}}, "choose from grammar, openai, transformers"),
        ({"factorial": None, "contextual": {"openai": {"api_key": "sk-1"}}}, "'api_key' is not known"),
        ({"factorial": None, "contextual": {"openai": {"api_key_env": "sk-live-123"}}}, "must be the name of an"),
    ],
)
def test_the_configuration_is_checked(shipped_config, change, message):
    shipped_config["generation"]["prompts"] = change
    with pytest.raises(UserError, match=message) as caught:
        check_config(shipped_config)
    assert "sk-live" not in str(caught.value)


def test_planning_ten_thousand_contextual_prompts_is_quick_and_needs_no_torch(config, root):
    code = (
        "import sys, time, yaml; sys.path.insert(0, 'workflow_scripts')\n"
        "from evenface.configuration import check_config\n"
        "from evenface.plan.shards import build_plans\n"
        "config = yaml.safe_load(open('config.yaml'))\n"
        "config['generation']['prompts'] = {'contextual': {'prompts_per_cell': 140, 'design': 'independent'}}\n"
        "config['generation']['images_per_prompt'] = 10\n"
        "config = check_config(config)\n"
        "start = time.process_time(); (plan, *_) = build_plans(config).values(); seconds = time.process_time() - start\n"
        "assert len(plan.recipes) == 10080 and len(plan) == 100800, len(plan.recipes)\n"
        "assert not {'torch', 'numpy', 'cv2', 'pandas', 'transformers', 'urllib.request'} & set(sys.modules)\n"
        "print(seconds)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert float(out.stdout) < 5


# --- files that a model writes ---

CONTEXTS = [
    "in a park under overcast light, wearing a green jacket",
    "at a kitchen table with soft window light",
    "on a ferry deck, wind from the left, leaning on the railing",
    "in a library between two shelves, reading lamp on the desk",
]


def write_contexts(tmp_path, settings, texts, seed=0):
    path = tmp_path / written_file(settings, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# writer: someone\ncontext\n" + "".join(f'"{text}"\n' for text in texts))
    return path


def test_a_missing_file_names_the_command(settings, tmp_path):
    with pytest.raises(MissingPrompts, match="python -m evenface prompts write") as caught:
        contextual(settings(**MODEL), seed=0, base=tmp_path)
    assert re.search(r"^data/prompts/contextual-[0-9a-f]{10}\.csv: ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_a_file_of_contexts_is_crossed_with_every_group(settings, tmp_path):
    chosen = settings(**SMALL, **MODEL, prompts_per_cell=4)
    write_contexts(tmp_path, chosen, CONTEXTS)
    made = contextual(chosen, seed=0, base=tmp_path)
    assert made.findings == [] and all(set(c) == set(CONTEXTS) for c in by_group(made.cases).values())
    assert len(made.cases) == 32


@pytest.mark.parametrize("design", ["paired", "independent"])
def test_editing_a_context_moves_only_what_it_is_in(settings, tmp_path, design):
    chosen = settings(**SMALL, **MODEL, prompts_per_cell=2, pool=4, design=design)
    write_contexts(tmp_path, chosen, CONTEXTS)
    before = contextual(chosen, seed=0, base=tmp_path).cases
    path = write_contexts(tmp_path, chosen, [CONTEXTS[0].replace("green", "blue"), *CONTEXTS[1:]])
    after = contextual(chosen, seed=0, base=tmp_path).cases
    old, new = ({(c.prompt.cell, c.prompt.text) for c in cases} for cases in (before, after))
    gone = {text for _, text in old - new}
    assert gone and (design == "independent" or all("green jacket" in text for text in gone))
    assert len(old & new) >= 6 and path.is_file()
    drawn = {frozenset(contexts) for contexts in by_group(before).values()}
    if design == "paired":
        assert len(gone) == 8 and len(drawn) == 1
    else:
        assert len(drawn) > 2


@pytest.mark.parametrize(
    ("row", "check", "message"),
    [
        ("in a park, no hat", "negation", "'no' negates"),
        ("sitting without a coat on a bench", "negation", "'without' negates"),
        ("in a golden wheat field", "target", "'golden' states, denies or hides the hair colour"),
        ("wearing a straw hat", "target", "'hat' states, denies or hides the hair colour"),
        ("in front of a white wall", "group", "'white' points at ethnicity white"),
        ("an old brick house behind", "group", "'old' points at age senior"),
        ("she looks out of a window", "group", "'she' points at gender female"),
        ("wearing a kimono in a tea house", "group", "'kimono' points at ethnicity asian"),
        ("  ", "empty", "the context is empty"),
        (CONTEXTS[0].upper() + ".", "duplicate", "the same context as row 3"),
        ("glasses " * 80, "length", "at least 9. CLIP tokens"),
        ("beside a young elderly pensioner", "contradiction", "age is both"),
        ("in a secret laboratory", "forbidden", "holds the forbidden 'secret'"),
    ],
)
def test_a_bad_row_is_named(settings, tmp_path, row, check, message):
    chosen = settings(**SMALL, **MODEL, prompts_per_cell=3, forbidden=["secret"])
    path = write_contexts(tmp_path, chosen, [*CONTEXTS[:2], row, *CONTEXTS[2:]])
    found = {one.check: one for one in contextual(chosen, seed=0, base=tmp_path).findings}
    assert re.search(message, found[check].text), found
    assert found[check].place == f"{path.relative_to(tmp_path)} row 5"
    with pytest.raises(UserError, match=r"row 5: .*\n?.*"):
        build_catalogue({"contextual": chosen}, seed=0, base=tmp_path)


def test_longer_prompts_may_be_allowed_for_encoders_that_take_more(tmp_path):
    (tmp_path / "prompts.txt").write_text("portrait photo of a young asian woman, " + "smiling widely, " * 40)
    chosen = {"file": "prompts.txt"}
    with pytest.raises(UserError, match=r"75 fit; .*generation\.prompts\.max_tokens"):
        build_catalogue(chosen, seed=0, base=tmp_path)
    assert len(build_catalogue({**chosen, "max_tokens": 512}, seed=0, base=tmp_path)) == 1


def test_what_the_user_accepts_is_a_note(settings, tmp_path):
    rows = ["in front of a white wall, no coat", *CONTEXTS]
    chosen = settings(**{**SMALL, "ethnicity": []}, **MODEL, prompts_per_cell=2, accept=["negation", "group", "target"])
    write_contexts(tmp_path, chosen, rows)
    made = contextual(chosen, seed=0, base=tmp_path)
    assert made.findings == [] and {one.check for one in made.notes} == {"negation", "group", "target"}
    assert len(build_catalogue({"contextual": chosen}, seed=0, base=tmp_path)) == 8


def test_too_few_contexts_and_foreign_columns(settings, tmp_path):
    chosen = settings(**SMALL, **MODEL, prompts_per_cell=5)
    path = write_contexts(tmp_path, chosen, CONTEXTS)
    found = contextual(chosen, seed=0, base=tmp_path).findings
    assert [(one.check, one.place) for one in found] == [("balance", str(path.relative_to(tmp_path)))]
    assert "4 usable contexts, but generation.prompts.contextual.prompts_per_cell is 5" in found[0].text
    path.write_text("text\nx\n")
    with pytest.raises(UserError, match="column 'context' is missing; the header has text"):
        contextual(chosen, seed=0, base=tmp_path)
    path.write_text("")
    with pytest.raises(UserError, match="the file is empty"):
        contextual(chosen, seed=0, base=tmp_path)


def test_patience_and_groups_do_not_change_the_file_of_contexts(settings):
    first = settings(**SMALL, **MODEL)
    patient = {
        **MODEL["openai"],
        "timeout": 9,
        "retries": 1,
        "api_key_env": "KEY",
        "attempts": 2,
        "lines_per_request": 3,
    }
    assert written_file(first, 0) == written_file(settings(**SMALL, **{**MODEL, "openai": patient}), 0)
    assert written_file(first, 0) == written_file(settings(**{**SMALL, "gender": ["male"]}, **MODEL), 0)
    others = [
        settings(**SMALL, **{**MODEL, "openai": {**MODEL["openai"], "model": "n"}}),
        settings(**SMALL, **MODEL, protect=["Smiling"]),
        settings(**SMALL, **MODEL, prompts_per_cell=11),
        settings(**SMALL, **MODEL, ask="prompts"),
    ]
    files = [written_file(one, 0) for one in others] + [written_file(first, 1)]
    assert len({*files, written_file(first, 0)}) == 6
    assert written_file(settings(**SMALL), 0) is None


def whole_prompts(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("cell,prompt\n" + "".join(f'{cell},"{text}"\n' for cell, text in rows))


GOOD_ROWS = [
    ("female-black", "portrait photo of a woman with black hair, in a park, overcast light"),
    ("female-gray", "portrait photo of a woman with gray hair, in a kitchen, her hands on the table"),
    ("male-black", "portrait photo of a man with black hair, on a bridge at noon"),
    ("male-gray", "portrait photo of a man with gray hair, in a forest, morning light"),
]


def test_whole_prompts_are_checked_by_group(settings, tmp_path):
    chosen = settings(**{**SMALL, "ethnicity": []}, **MODEL, ask="prompts", prompts_per_cell=1)
    path = tmp_path / written_file(chosen, 0)
    whole_prompts(path, GOOD_ROWS)
    made = contextual(chosen, seed=0, base=tmp_path)
    assert made.findings == [] and [c.prompt.attributes for c in made.cases][1] == {"Gray_Hair": 1}
    assert made.cases[2].prompt.demographics == {"gender": "male", "age": "unknown", "ethnicity": "unknown"}
    for row, message in {
        "portrait photo of a man with gray hair, wearing a skirt": "'skirt' points at gender female, but the prompt is for",
        "portrait photo of a man, in a forest": "does not say 'a man with gray hair'",
        "portrait photo of a man with gray hair and a cap": "'cap' states, denies or hides the hair colour",
        "portrait photo of a man with gray hair, without a coat": "'without' negates",
    }.items():
        whole_prompts(path, [*GOOD_ROWS[:3], ("male-gray", row)])
        found = contextual(chosen, seed=0, base=tmp_path).findings
        assert any(message in one.text and one.place.endswith("row 5") for one in found), (row, found)
    whole_prompts(path, GOOD_ROWS[:3])
    found = contextual(chosen, seed=0, base=tmp_path).findings
    assert [one.check for one in found] == ["balance"] and "group male, gray" in found[0].place
    whole_prompts(path, [*GOOD_ROWS[:3], ("male-green", "x")])
    with pytest.raises(UserError, match="row 5: cell 'male-green' is not a group"):
        contextual(chosen, seed=0, base=tmp_path)


def test_words_tied_to_a_group_are_found_in_whole_prompts(settings, tmp_path):
    chosen = settings(**{**SMALL, "ethnicity": [], "hair_colour": []}, **MODEL, ask="prompts", prompts_per_cell=30)
    draw = random.Random(0)
    nouns = ["park", "kitchen", "bridge", "forest", "library", "market"]

    def rows(bound):
        return [
            (
                g,
                f"portrait photo of a {w}, {bound if g == 'male' and i % 2 else 'standing'} in a {draw.choice(nouns)}, shot {'x' * (i + 1)}",
            )
            for g, w in (("female", "woman"), ("male", "man"))
            for i in range(30)
        ]

    path = tmp_path / written_file(chosen, 0)
    whole_prompts(path, rows("working"))
    found = contextual(chosen, seed=0, base=tmp_path).findings
    tied = [one.text for one in found if one.check == "association"]
    assert len(tied) == 2 and "'working' is in 15 of 30 prompts of gender male and in 0 of 30 others" in "".join(tied)
    whole_prompts(path, rows("standing"))
    made = contextual(chosen, seed=0, base=tmp_path)
    assert made.findings == [] and made.tests > 0
    own = [(cell, f"{text} over {'her' if cell == 'female' else 'his'} shoulder") for cell, text in rows("standing")]
    whole_prompts(path, own)
    assert contextual(chosen, seed=0, base=tmp_path).findings == [], "a group's own pronouns are no association"


def test_the_words_for_the_person_are_taken_out():
    assert without_person("Photo of A Woman with black hair, outside", "a woman with black hair") == (
        "Photo of , outside",
        True,
    )
    assert without_person("Photo of an elderly man outside", "an elderly man") == ("Photo of outside", True)
    assert without_person("Photo of a man", "a woman") == ("Photo of a man", False)
    assert without_person("Photo of a woman", "a man") == ("Photo of a woman", False)


# --- the association test ---


def test_the_tail_is_fishers_exact_test():
    draw = random.Random(4)
    for _ in range(40):
        size, rest = draw.randint(2, 60), draw.randint(2, 60)
        inside, outside = draw.randint(0, size), draw.randint(0, rest)
        words = [{"word"}] * inside + [set()] * (size - inside) + [{"word"}] * outside + [set()] * (rest - outside)
        levels = [{"g": "a"}] * size + [{"g": "b"}] * rest
        found, number = associations(words, levels, alpha=0.9)
        p = fisher_exact([[inside, size - inside], [outside, rest - outside]], alternative="greater")[1]
        hit = [one for one in found if one.level == "a"]
        if hit:
            assert hit[0].p == pytest.approx(p, rel=1e-9)
        elif inside / size > outside / rest and not found:
            assert p > 0.9 / number


def test_chance_is_rarely_called_an_association():
    """Of 300 catalogues without associations, at most about one in a hundred is refused."""
    draw = random.Random(1)
    vocabulary = [f"w{i}" for i in range(80)]
    refused = 0
    for _ in range(300):
        words = [set(draw.sample(vocabulary, 8)) for _ in range(60)]
        levels = [{"gender": "fm"[i % 2], "age": "yms"[i % 3]} for i in range(60)]
        refused += bool(associations(words, levels)[0])
    assert refused <= 8


def test_a_bound_word_is_found_and_its_level_named():
    words = [{"park", "jacket"} if i % 2 else {"park", "sea"} for i in range(40)]
    levels = [{"gender": "fm"[i % 2], "age": "young"} for i in range(40)]
    found, _ = associations(words, levels)
    assert {(one.word, one.axis, one.level) for one in found} == {("jacket", "gender", "m"), ("sea", "gender", "f")}
    assert associations(words, [{"age": "young"}] * 40) == ([], 0)


@pytest.mark.parametrize(("size", "enough"), [(10, 7), (30, 11), (50, 13)])
def test_the_power_that_docs_prompts_md_states(size, enough):
    """A word of one of two groups alone, among a hundred others."""
    draw = random.Random(0)
    vocabulary = [f"w{i}" for i in range(100)]

    def found(count):
        words = [set(draw.sample(vocabulary, 12)) | ({"bound"} if i < count else set()) for i in range(2 * size)]
        tied, _ = associations(words, [{"g": "a" if i < size else "b"} for i in range(2 * size)])
        return any(one.word == "bound" for one in tied)

    assert sum(found(enough) for _ in range(5)) >= 3 and not any(found(enough - 3) for _ in range(5))


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcd")), st.sampled_from("xy"), st.sampled_from("uv")), max_size=30))
def test_any_catalogue_can_be_tested(rows):
    found, number = associations([set(w) for w, _, _ in rows], [{"g": g, "h": h} for _, g, h in rows])
    assert number >= 0 and all(0 <= one.p <= 0.01 for one in found)


def test_words_are_those_of_two_letters_or_more():
    assert words_of("An 85 mm lens, T-shirt: café") == {"an", "mm", "lens", "shirt", "café"}


# --- reviewing the other forms ---


def test_a_prompt_list_with_traits_tied_to_groups_is_noted(tmp_path):
    """As in the predecessor's list: contradictions stop, negations and unequal groups are noted."""
    (tmp_path / "p.txt").write_text(
        "a white man with black hair, no beard\na white woman with gray hair\nan Asian man with a goatee and no beard\n"
    )
    made = review_catalogue({"file": "p.txt"}, seed=0, base=tmp_path)
    assert [(one.check, one.place.rpartition(" ")[2]) for one in made.findings] == [("contradiction", "3")]
    assert ("negation", "1") in {(one.check, one.place.rpartition(" ")[2]) for one in made.notes}
    assert any(one.check == "balance" and "asian, female" in one.place for one in made.notes)


def test_the_shipped_catalogue_has_no_findings(config):
    made = review_catalogue(config["generation"]["prompts"], seed=config["seed"])
    assert made.findings == made.notes == [] and made.tests > 0


def test_the_lists_of_checks_agree(schema):
    prompts = schema["properties"]["generation"]["properties"]["prompts"]["properties"]["contextual"]["properties"]
    assert set(prompts["accept"]["items"]["enum"]) <= set(CHECKS)
    assert set(
        prompts["grammar"]["properties"]["slots"]["description"].split("among ")[1].split(";")[0].split(", ")
    ) == set(grammar.PHRASES)


# --- tables ---


def test_rows_know_their_lines_and_notes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('\ufeff# writer: me, myself\n# rows: 1\n\na,b\n"x\ny",1\n\nz\n', encoding="utf-8")
    table = read_table(path, "k")
    assert table.notes == {"writer": "me, myself", "rows": "1"}
    assert table.rows == [(5, {"a": "x\ny", "b": "1"}), (8, {"a": "z", "b": ""})]
    path.write_text("# writer: me,,\n# a,,\na,b,\n1,2,\n")  # as a spreadsheet saves it
    table = read_table(path, "k")
    assert table.notes == {"writer": "me", "a": ""} and table.rows == [(4, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2,3\n", r"t\.csv row 2: more values than columns"),
        ('a,b\n1,"2\n', r"t\.csv row 2: not a CSV row"),
        ("a,b,a\n1,2,3\n", "column 'a' occurs more than once"),
    ],
)
def test_a_broken_table_names_its_row(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_table(tmp_path / "t.csv", "k")


@given(st.lists(st.fixed_dictionaries({"a": st.text(max_size=9), "b": st.text(max_size=9)}), max_size=5))
def test_a_digest_sees_every_edit(rows):
    changed = [*rows, {"a": "x", "b": ""}]
    assert rows_digest(["a", "b"], rows) != rows_digest(["a", "b"], changed)


@given(st.text(max_size=120))
def test_looking_for_cues_never_fails(text):
    cues.group_cues(text), cues.attribute_cues(text, CELEBA_ATTRIBUTES), cues.negations(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a human figure on a manhole cover in Manhattan", []),
        ("long black hair", []),
        ("a black jacket", [("black", "ethnicity", "black")]),
        ("her grandmother's house", [("her", "gender", "female"), ("grandmother", "gender", "female"), ("grandmother", "age", "senior")]),
        ("a 1980s look", []),
        ("a 67-year-old teacher", [("67-year-old", "age", "senior")]),
    ],
)  # fmt: skip
def test_cues_are_whole_words(text, found):
    assert [tuple(cue) for cue in cues.group_cues(text)] == found


def test_without_prompts_plans_are_empty(config, settings):
    config["generation"]["prompts"] = {"factorial": None, "file": None, "contextual": settings(**SMALL, **MODEL)}
    [what] = prompt_writing(config).values()
    assert what["task"]["count"] == 10 and "openai" in what["settings"]
    with pytest.raises(MissingPrompts):
        build_plans(config)
    assert {len(plan) for plan in build_plans(config, unwritten=True).values()} == {0}
    assert prompt_writing({**config, "generation": {"prompts": {"file": "x"}}}) == {}


def test_the_plan_of_a_grammar(config, settings):
    config["generation"]["prompts"] = {"factorial": None, "file": None, "contextual": settings()}
    plan = build_plan(config)
    assert len(plan.recipes) == 720
    assert all(recipe[d] in DIMENSIONS[d] for recipe in plan.recipes.values() for d in DIMENSIONS)


def test_a_subset_stays_paired_and_balanced_over_targets(settings):
    phrases = {"Smiling": {"present": "smiling", "absent": "neutral expression, lips together"}}
    chosen = settings(ethnicity=[], age=[], hair_colour=[], attributes=phrases, prompts_per_cell=9)
    prompts = build_catalogue({"contextual": chosen}, seed=0)
    few = balanced_subset(prompts, 12, seed=1)
    assert Counter(p.crossed for p in few) == dict.fromkeys({p.crossed for p in prompts}, 3)
    contexts = {}
    for prompt in few:
        contexts.setdefault(prompt.crossed, set()).add(prompt.context)
    assert len({frozenset(c) for c in contexts.values()}) == 1
