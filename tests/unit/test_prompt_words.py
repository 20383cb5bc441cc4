"""What words of prompts say of a person: measured on prompts labelled by hand, and kinds of words one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_words import HALVES, labelled, scores, statements, table

from evenface.prompts import lexicon
from evenface.prompts.ages import ages_written_over
from evenface.prompts.catalogue import build_catalogue, factorial, review_catalogue
from evenface.prompts.cues import group_cues
from evenface.prompts.reading import read_prompt
from evenface.prompts.syntax import foreign_syntax
from evenface.prompts.writers.commands import export
from evenface.taxonomy import DIMENSIONS, UNKNOWN


def read(text):
    """Gender, age and ethnicity, "-" where unknown."""
    return " ".join(level.replace(UNKNOWN, "-") for level in read_prompt(text).demographics.values())


# --- measured ---


@pytest.mark.parametrize("half", HALVES)
def test_precision_and_recall_on_prompts_labelled_by_hand(half):
    found = scores(half)
    wrong = [one for one in statements(half) if one[3] and one[2] != one[3]]
    for group, (right, read, there) in found.items():
        assert right / read >= 0.99, (group, wrong)
        assert right / there >= 0.95, (group, [one for one in statements(half) if one[0] == group and one[2] != one[3]])
    assert not [row["prompt"] for row in labelled(half) if read_prompt(row["prompt"]).conflicts]


def test_the_table_of_the_docs_is_the_measured_one(root):
    text = (root / "docs/prompts.md").read_text()
    assert text.split("<!-- words -->")[1].split("<!-- end -->")[0].strip() == table()


def test_the_list_is_as_large_and_varied_as_the_docs_say(root):
    rows = [row for half in HALVES for row in labelled(half)]
    nobody = [row for row in rows if all(row[dimension] == UNKNOWN for dimension in DIMENSIONS)]
    assert len(rows) >= 700 and len(nobody) >= 150 and len({row["prompt"] for row in rows}) == len(rows)
    assert f"{len(rows)} prompts" in (root / "docs/prompts.md").read_text()


def test_a_factorial_is_read_as_it_was_made(config):
    """Whose demographics are known by construction: the shipped catalogue, with every trait."""
    settings = config["generation"]["prompts"]["factorial"] | {"prompts_per_cell": 8}
    for prompt in factorial(settings, seed=config["seed"]):
        found = read_prompt(prompt.text)
        assert found.demographics == prompt.demographics and found.attributes == prompt.attributes, prompt.text
        assert found.conflicts == found.unsure == []


# --- kinds of words ---


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        # a colour is ancestry only where it stands for the person
        ("portrait of a woman, white background", "female - -"),
        ("photo of a man in a black suit", "male - -"),
        ("a Black man in a white suit", "male - black"),
        ("a beautiful black young woman", "female young black"),
        ("a black dog and a white woman", "female - white"),
        ("an elegant white lady's portrait", "female - white"),
        ("the white woman's dress", "- - -"),
        ("black and white photo of an old man", "male senior -"),
        ("a man in black", "male - -"),
        ("she is black", "female - black"),
        ("she is black-haired", "female - -"),
        ("a white knight", "- - -"),
        ("a white taxi driver", "- - -"),
        ("Black, woman, 34", "female middle_aged black"),
        ("woman, black, dress", "female - -"),
        ("ethnicity: white, gender: male", "male - white"),
        # ancestry and nationality
        ("an African American lawyer", "- - black"),
        ("an African elephant", "- - -"),
        ("a Korean in a suit", "- - asian"),
        ("a Japanese restaurant, a man", "male - -"),
        ("a woman from Kenya", "female - black"),
        ("a man of Chinese descent", "male - asian"),
        ("a Black British woman", "female - black"),
        ("a South Asian woman", "female - -"),
        ("a mixed-race woman, half Black", "female - -"),
        ("a Black Latina woman", "female - -"),
        ("a white South African man", "male - white"),
        # ages
        ("close-up portrait of a 25 year old woman", "female young -"),
        ("an 'old' 25-year-old man", "male young -"),
        ("a man, 52 y.o.", "male senior -"),
        ("a thirty-five-year-old man", "male middle_aged -"),
        ("a woman in her late forties", "female middle_aged -"),
        ("a man aged 25 to 45", "male - -"),
        ("a 300 year old man", "male - -"),
        ("a young woman, 45 years old", "female middle_aged -"),
        ("a woman with a 100-year-old camera", "female - -"),
        ("an old friend", "- - -"),
        ("a senior software developer", "- - -"),
        ("a senior citizen", "- senior -"),
        ("cover of a young adult novel", "- - -"),
        ("a young adult", "- young -"),
        ("a woman who isn't old", "female - -"),
        ("a little girl", "female young -"),
        ("a girl", "female - -"),
        # gender
        ("a policewoman", "female - -"),
        ("my grandfather on the porch", "male senior -"),
        ("a doctor checking her watch", "female - -"),
        ("a cat licking her paw", "- - -"),
        ("a male lion", "- - -"),
        ("a female young doctor", "female young -"),
        ("a woman dressed as a man", "female - -"),
        ("photo by an old man", "- - -"),
        ("a boy band", "- - -"),
        ("men's shoes", "- - -"),
        ("no people, no men", "- - -"),
        # several people: what all have
        ("a man and a woman", "- - -"),
        ("an old man and a young man", "male - -"),
        ("two young Asian women", "female young asian"),
        ("a father and his son", "male - -"),
        ("the daughter of an old king", "female - -"),
        ("an old woman in front of a crowd", "female senior -"),
        # signs of other programs
        ("(black woman:1.2), [old house]", "female - black"),
        ("<lora:oldMan:0.8>, 1girl", "female - -"),
        ("a woman --no old man", "female - -"),
        # ages: bounds, decades, numbers beside a noun; "old" after years is none of an idiom
        ("a 10 year old boy", "male young -"),
        ("a woman over 60", "female senior -"),
        ("a man over 40", "male - -"),
        ("a man under 30 umbrellas, over 60 years of tradition", "male - -"),
        ("a man turning 90 degrees", "male - -"),
        ("a woman who just turned 40", "female middle_aged -"),
        ("a woman under 25 years old", "female young -"),
        ("a man in his '40s", "male middle_aged -"),
        ("late thirties dad", "male middle_aged -"),
        ("scientist, female, forties", "female middle_aged -"),
        ("a former boxer, now 58", "- senior -"),
        ("a man (52), lawyer", "male senior -"),
        ("a girl of seven with a kite", "female young -"),
        ("a mother of two", "female - -"),
        ("yearbook photo of a high school senior, girl", "female young -"),
        # relatives, jobs and their gender
        ("his wife at the bus stop", "female - -"),
        ("a mailwoman with letters", "female - -"),
        ("a female policeman", "female - -"),
        ("the pilot straightens his cap", "male - -"),
        ("his hands are covered in paint", "male - -"),
        ("a Scottish lighthouse keeper, he smokes", "male - white"),
        # jobs and relatives that nobody shown is
        ("a girl in a punk jacket", "female - -"),
        ("a brown bear mother", "- - -"),
        ("a baby elephant with its mother", "- - -"),
        ("a grandfather clock", "- - -"),
        ("the boys' locker room", "- - -"),
        # what is to be written, and what is not to be drawn
        ('a man in a t-shirt with the text "World\'s best grandma"', "male - -"),
        ("a woman holding a sign that says OLD MEN ONLY", "female - -"),
        ("photo of a woman. Negative prompt: old, man, asian", "female - -"),
        ("a young woman made up as an old woman", "female young -"),
        ("young, middle-aged, and old women", "female - -"),
        # slips of the keyboard
        ("african amercian woman, 40 yers old", "female middle_aged black"),
        ("potrait of an eldery asain womna", "female senior asian"),
    ],
)
def test_groups_are_read_where_words_stand_for_the_person(text, levels):
    assert read(text) == levels


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("woman with long black curly hair", {"Black_Hair": 1}),
        ("a man whose hair is jet black", {"Black_Hair": 1}),
        ("a black-haired woman", {"Black_Hair": 1}),
        ("a blonde", {"Blond_Hair": 1}),
        ("blonde wood, a woman", {}),
        ("brown hair with blonde highlights", {}),
        ("black hair ribbon, woman", {}),
        ("a man with white hair and black eyes", {}),
        ("a woman without glasses", {"Eyeglasses": -1}),
        ("a man, no hat, not smiling", {"Wearing_Hat": -1, "Smiling": -1}),
        ("a man without a beard or glasses", {"No_Beard": 1, "Eyeglasses": -1}),
        ("a man with a white beard", {"No_Beard": -1}),
        ("a woman with two glasses of wine", {}),
        ("a hat on a table, woman", {}),
        ("a bald eagle above a man", {}),
        ("a teddy bear wearing glasses", {}),
        ("a man with a beard and a woman with glasses", {}),
        ("a barely smiling woman", {}),
        ("a woman with a hint of a smile", {}),
        # parts of the face: adjectives between, statements, compounds
        ("a woman with big, full red lips", {"Big_Lips": 1}),
        ("his eyebrows are thick", {"Bushy_Eyebrows": 1}),
        ("a pale-skinned, rosy-cheeked woman", {"Pale_Skin": 1, "Rosy_Cheeks": 1}),
        ("a woman with a big smile and lips painted red", {"Smiling": 1}),
        ("man with his mouth open", {"Mouth_Slightly_Open": 1}),
        ("woman, lips closed", {"Mouth_Slightly_Open": -1}),
        ("a laughing man, laugh lines", {"Smiling": 1}),
        ("a mug with a smiling face", {}),
        ("passport photo of a man, neutral expression", {}),
        ("a smiling man, neutral expression", {"Smiling": 1}),
        ("a woman without any makeup", {"Heavy_Makeup": -1}),
        ("a woman, natural makeup", {}),
        ("a man with a shaved head", {"Bald": 1}),
        ("a fat man beside a fat cat", {"Chubby": 1}),
        ("woman with plump lips", {"Big_Lips": 1}),
        # what is worn
        ("a man in a suit and tie", {"Wearing_Necktie": 1}),
        ("a man in a bow tie and a tie-dye shirt", {}),
        ("woman, hoop earrings, no necklace", {"Wearing_Earrings": 1, "Wearing_Necklace": -1}),
        ("a man in a beret, his cap on the table", {"Wearing_Hat": 1}),
        ("a woman who took off her glasses", {}),
        ("a waitress with a tray of glasses", {}),
        ("a woman never seen without lipstick", {"Wearing_Lipstick": 1}),
        ("a man with neither beard nor mustache", {"No_Beard": 1, "Mustache": -1}),
        ("Glasses: none, hair: brown, woman", {"Eyeglasses": -1, "Brown_Hair": 1}),
        # hair
        ("a woman with sleek, straight, black hair", {"Black_Hair": 1, "Straight_Hair": 1}),
        ("a woman with raven hair", {"Black_Hair": 1}),
        ("golden brown hair", {"Brown_Hair": 1}),
        ("a brunette next to a blonde", {}),
        ("brown or black hair", {}),
        # several people, and "mustache, no beard", do not contradict each other
        ("2girls, blonde hair, black hair", {}),
        ("two men, one with a beard, the other clean-shaven", {}),
        ("a man with a mustache, no beard", {"Mustache": 1}),
    ],
)
def test_attributes_are_read_where_they_are_the_persons(text, attributes):
    found = read_prompt(text)
    assert found.attributes == attributes and found.conflicts == []


@pytest.mark.parametrize(
    ("text", "dimension", "sentence"),
    [
        ("a white knight", "ethnicity", "'white' before 'knight' may be a colour"),
        ("woman, black, dress", "ethnicity", "'black' alone may be a colour"),
        ("a Latina woman", "ethnicity", "'latina': none of the levels asian, black, white"),
        ("a man and a woman", "gender", "several people"),
        ("a woman, an old lady, young", "age", "said twice"),
        ("a woman with his dog", "gender", "a pronoun of another gender"),
    ],
)
def test_what_is_not_sure_is_open_and_listed(tmp_path, text, dimension, sentence):
    (tmp_path / "p.txt").write_text(f"{text}\n")
    made = review_catalogue({"file": "p.txt"}, seed=0, base=tmp_path)
    assert made.findings == [] and made.cases[0].prompt.demographics[dimension] == UNKNOWN
    assert any(one.check == "unsure" and sentence in one.text for one in made.notes), made.notes
    (tmp_path / "p.csv").write_text(f'prompt,gender,age,ethnicity\n"{text}",female,young,white\n')
    made = review_catalogue({"file": "p.csv"}, seed=0, base=tmp_path)
    assert not [one for one in made.notes if one.check == "unsure"], "columns leave nothing open"
    assert made.cases[0].prompt.demographics == {"gender": "female", "age": "young", "ethnicity": "white"}


def test_what_is_read_as_a_level_is_a_cue_in_contexts():
    """Else a context that all groups share could say one of them."""
    said = {**{w: {"ethnicity": one} for w, one in {**lexicon.ANCESTRIES, **lexicon.NATIONS}.items()}, **lexicon.PEOPLE}
    for word, levels in said.items():
        found = {(cue.of, cue.level) for cue in group_cues(f"beside a {word}")}
        assert word.startswith("@") or {pair for pair in levels.items() if pair[1] in DIMENSIONS[pair[0]]} <= found, (
            word
        )


@given(st.text(alphabet=st.sampled_from(" ,.-'()[]:@_<>0123456789abwomanoldblackshe"), max_size=80))
def test_any_text_can_be_read(text):
    found = read_prompt(text)
    assert all(level in (*DIMENSIONS[d], UNKNOWN) for d, level in found.demographics.items())
    ages_written_over(text)


# --- columns, and the way through every refusal ---


def table_of(tmp_path, content):
    (tmp_path / "p.csv").write_text(content)
    return build_catalogue({"file": "p.csv"}, seed=0, base=tmp_path)


def test_columns_overrule_words(tmp_path):
    [prompt] = table_of(
        tmp_path,
        "prompt,gender,age,ethnicity,Black_Hair,Eyeglasses,Smiling\n"
        '"an old white man, blond hair, glasses, smiling",female,unknown,black,1,-1,0\n',
    )
    assert prompt.demographics == {"gender": "female", "age": "unknown", "ethnicity": "black"}
    assert prompt.attributes == {"Black_Hair": 1, "Eyeglasses": -1}, (
        "blond hair excludes black hair, and the column wins"
    )
    [kept] = table_of(tmp_path, "prompt,gender,Smiling\nan old white man smiling,,\n")
    assert kept.demographics == {"gender": "male", "age": "senior", "ethnicity": "white"} and kept.attributes == {
        "Smiling": 1
    }


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a young elderly man", {"age": "senior"}),
        ("a man with a goatee and no beard", {"Goatee": "1"}),
        ("a woman, black hair, blond hair", {"Blond_Hair": "1"}),
        ("a bald man with brown hair", {"Bald": "-1"}),
        ("a smiling man, not smiling", {"Smiling": "-1"}),
    ],
)
def test_the_way_through_a_contradiction_is_a_way_through(tmp_path, monkeypatch, config, text, columns):
    """The message names columns and the command that writes them; both are followed."""
    from evenface.errors import UserError

    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text(f"{text}\n")
    with pytest.raises(UserError, match=r"p\.txt line 1: contradiction, .*columns.*prompts export"):
        build_catalogue({"file": "p.txt"}, seed=0)
    config["generation"]["prompts"] = {"factorial": None, "contextual": None, "file": "p.txt"}
    export(config, "mine.csv")
    [prompt] = build_catalogue({"file": "mine.csv"}, seed=0)
    assert prompt.text == text
    [prompt] = table_of(tmp_path, f'prompt,{",".join(columns)}\n"{text}",{",".join(columns.values())}\n')
    stated = {name: str(value) for name, value in {**prompt.demographics, **prompt.attributes}.items()}
    assert columns.items() <= stated.items()


def test_an_exported_catalogue_is_read_back_as_it_was(tmp_path, monkeypatch, config):
    rows = [row["prompt"] for half in HALVES for row in labelled(half) if not foreign_syntax(row["prompt"])]
    rows = [row for row in rows if len(row) < 150]
    (tmp_path / "p.txt").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    before = build_catalogue({"file": "p.txt"}, seed=0)
    config["generation"]["prompts"] = {"factorial": None, "contextual": None, "file": "p.txt"}
    export(config, "mine.csv")
    after = build_catalogue({"file": "mine.csv"}, seed=0)
    key = [(p.cell.replace("_", "-"), p.text, p.demographics, p.attributes) for p in before]
    assert key == [(p.cell, p.text, p.demographics, p.attributes) for p in after] and len(key) > 600
