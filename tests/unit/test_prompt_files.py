"""Files of prompts as they are found: comments, quotes, syntax of other programs, endings, lines."""

import pytest

from evenface.errors import UserError
from evenface.prompts.catalogue import build_catalogue, review_catalogue
from evenface.prompts.syntax import foreign_syntax
from evenface.storage.text_tables import lines_of


def prompts_of(tmp_path, content, name="p.txt"):
    (tmp_path / name).write_bytes(content.encode())
    return build_catalogue({"file": name}, seed=0, base=tmp_path)


def test_comments_marks_and_quotation_marks_are_no_part_of_prompts(tmp_path):
    made = prompts_of(
        tmp_path,
        '# faces of study A\n// second block\n\n##\n"portrait of a man"\n1. a girl\n- a boy\n  “an old woman”\n"a nurse",\n'
        "a poster that says \"hello\"\n'a clown'\n",
    )
    assert [(p.text, p.place.rpartition(" ")[2], p.column) for p in made] == [
        ("portrait of a man", "5", 2), ("a girl", "6", 4), ("a boy", "7", 3), ("an old woman", "8", 4), ("a nurse", "9", 2),
        ('a poster that says "hello"', "10", 1), ("a clown", "11", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "column", "shown", "remedy"),
    [
        ('"a unicorn woman" -n4 -H512 -S1234', 19, "'-n4' is an option", "generation.settings"),
        ('--prompt "a young woman" --steps 20', 1, "'--prompt' is an option", "remove it"),
        ("a woman --ar 2:3 --v 5", 9, "'--ar' is an option", "remove it"),
        ("a woman --no glasses", 9, "'--no' says what to avoid", "generation.negative_prompt"),
        ("  2. a woman —ar 2:3", 14, "'—ar' is an option", "remove it"),
        ("portrait of a woman <lora:detail:0.8>", 21, "'<lora:detail:0.8>' loads a LoRA", "remove it"),
        ("a man BREAK city street", 7, "'BREAK' ends a chunk", "'break' if the word is meant"),
        ("a cat AND a dog", 7, "'AND' combines", "'and' if the word is meant"),
        ("{smiling|serious} woman", 1, "'{smiling|serious}' alternates", "a line of its own"),
        ("[old|young] woman", 1, "'[old|young]' alternates", "a line of its own"),
        ("a [young:old:0.5] man", 3, "'[young:old:0.5]' edits the prompt", r"escape the brackets"),
        ("a [:hat:10] man", 3, "'[:hat:10]' edits", "remove it"),
        ("__haircolor__ woman", 1, "'__haircolor__' is a wildcard", "one prompt per line"),
        ("a ${age} woman", 3, "'${age}' is a choice", "remove the braces"),
        ('{"prompt": "a woman"}', 1, "is a choice", "remove the braces"),
        ("a (woman)1.3 in rain", 9, "')1.3' weighs", "(term:1.2)"),
        ("hot:: dog", 4, "'::' parts", "(term:1.2)"),
        ("/imagine prompt: a woman", 1, "'/imagine prompt:' is a command", "remove it"),
        ("Negative prompt: ugly", 1, "'Negative prompt:' says what to avoid", "generation.negative_prompt"),
        ("Steps: 20, Sampler: Euler a, CFG scale: 7", 1, "settings of a picture", "remove the line"),
        ("https://x.org/a.png a woman", 1, "is an address", "initial"),
        ("#portrait of a woman", 1, "is a comment or a tag", "'# '"),
        ("[", 1, "belongs to a list", "one prompt per line"),
        ("a woman –-ar 2:3", 9, "'–-ar' is an option", "remove it"),
        ("a woman. Negative prompt: old", 10, "'Negative prompt:' says what to avoid", "generation.negative_prompt"),
        ("neg: ugly", 1, "says what to avoid", "generation.negative_prompt"),
        ("positive: a woman", 1, "is a label", "remove it"),
        ("a woman:1.2 in rain", 8, "':1.2' weighs a term", "(term:1.2)"),
        ("woman++ in rain", 6, "'++' weighs a term", "(term:1.2)"),
        ("a woman ### ugly", 9, "'###' parts a prompt", "generation.negative_prompt"),
        ("$hair woman", 1, "'$hair' is a variable", "write its value"),
        ("a <b>woman</b>", 3, "'<b>' is HTML", "remove it"),
        ("<|endoftext|>a woman", 1, "sign of a tokenizer", "remove it"),
        (r"a woman\n a man", 8, "escaped end of a line", "one prompt per line"),
        ('"a woman", "a man"', 1, "are several prompts", "one prompt per line"),
        ("| a woman | smiling |", 1, "row of a Markdown table", "without the bars"),
        ("```text", 1, "belongs to Markdown", "remove it"),
        ("***", 1, "holds no word", "remove the line"),
        ("-- faces of study A", 1, "begins a comment", "'# '"),
        ("a woman s3://bucket/a.png", 9, "is an address", "initial"),
    ],
)  # fmt: skip
def test_syntax_of_other_programs_is_refused_with_its_place(tmp_path, line, column, shown, remedy):
    with pytest.raises(UserError) as caught:
        prompts_of(tmp_path, f"a good prompt\n{line}\n")
    [first, *_] = [one for one in str(caught.value).splitlines() if "p.txt line 2" in one]
    assert first.strip().startswith(f"{tmp_path / 'p.txt'} line 2, column {column}: ")
    assert shown in first and remedy in first
    table = 'prompt\n"{}"\n'.format(line.strip().replace('"', '""'))
    with pytest.raises(UserError, match=r"row 2, character \d+: "):
        prompts_of(tmp_path, table, "p.csv")


@pytest.mark.parametrize(
    "text",
    [
        "a woman, (smiling:1.2), [blurry], ((old)) man, 8k | close-up -- 85 mm, f/1.8 and 16:9",
        "a non-smiling man at 5 o'clock, 3/4 view; time 10:30 (backlit)",
        "a [V] man, \\(brackets\\), red/blue light, ROCK AND ROLL, canon -5 ev",
        "woman in a low-cut dress, film-noir, x-ray, anti-aging, score_9",
        "C++ programmer, 18+, f:1.8, 16:9, IMG_1234.CR2, a $100 bill, 😀, <sks> woman, photo by @someone",
        'a woman, negative space, no entry sign; 7:30, a "tall" man',
    ],
)
def test_what_people_write_is_no_foreign_syntax(text):
    assert foreign_syntax(text) == []


def test_the_way_out_of_foreign_syntax_is_one(tmp_path):
    before = "{smiling|serious} woman <lora:x:1> BREAK studio --ar 2:3 [a:b:0.5]\n"
    after = "smiling woman break studio\nserious woman break studio \\[a:b:0.5\\]\n"
    with pytest.raises(UserError):
        prompts_of(tmp_path, before)
    assert len(prompts_of(tmp_path, after)) == 2


def test_foreign_syntax_is_a_finding_of_the_check(tmp_path):
    (tmp_path / "p.txt").write_text("a woman --steps 30\n")
    made = review_catalogue({"file": "p.txt"}, seed=0, base=tmp_path)
    assert [one.check for one in made.findings] == ["syntax"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.CSV", "prompt,gender\n\"a person, smiling\",female\n"),
        ("p.tsv", "prompt\tgender\na person, smiling\tfemale\n"),
        ("p.csv", "prompt,gender,,\n\"a person, smiling\",female,,\n"),
        ("p.TSV", "# made by: me\nprompt\tgender\n\"a person, smiling\"\tfemale\n"),
        ("p.jsonl", '{"prompt": "a person, smiling", "gender": "female", "Bald": -1, "cell": null}\n\n'),
    ],
)  # fmt: skip
def test_a_table_is_what_its_ending_says(tmp_path, name, content):
    [prompt] = prompts_of(tmp_path, content, name)
    assert prompt.text == "a person, smiling" and prompt.demographics["gender"] == "female"
    assert prompt.attributes["Smiling"] == 1 and prompt.attributes.get("Bald", -1) == -1
    with pytest.raises(UserError, match="'gendr' is not known"):
        prompts_of(tmp_path, content.replace("gender", "gendr"), name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", "[]", r"p\.json ends in \.json; give a \.txt"),
        ("prompts", "a man", "ends in nothing; give"),
        ("p.md", "a man", r"ends in \.md"),
        ("p.jsonl", "a man\n", r"row 1: not JSON .*write one object a line"),
        ("p.jsonl", '["a man"]\n', "row 1: not a JSON object"),
        ("p.jsonl", '{"prompt": "x"}\n{"prompt": ["a"]}\n', "row 2: 'prompt' is .*; write a text"),
        ("p.jsonl", '{"prompt": "x", "Smiling": true}\n', "'Smiling' is true; write a text, a number"),
        ("p.jsonl", '{"prompt": "x", "prompt": "y"}\n', "'prompt' occurs twice"),
        ("p.csv", "prompt;gender\nx;male\n", "save the table with commas between its columns, not ';'"),
        ("p.tsv", "prompt,gender\nx,male\n", "save the table with tabs between its columns, not ','"),
        ("p.tsv", "prompt\na\tb\n", "row 2: more values than columns; put a value with tabs"),
        ("p.csv", "text\nx\n", "name the prompts' column so"),
        ("p.csv", ",prompt\n0,x\n", r"column 1 has no name; delete it, or name it \(pandas"),
        ("p.csv", "sep=;\nprompt\nx\n", "is a note for Excel; delete it"),
        (
            "p.txt",
            "\nprompt,gender\nx,male\n",
            "line 2: 'prompt,gender' is the header of a table; give the file the ending",
        ),
        ("p.txt", "version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("p.txt", "<!DOCTYPE html>\n<p>x</p>", "a web page"),
        ("p.csv", "PK\x03\x04", "a zip archive; unpack it first"),
        ("p.txt", "p\0r\0o\0m\0p\0t\0", "UTF-16 text.*save the file as UTF-8"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(tmp_path, name, content, message):
    with pytest.raises(UserError, match=message):
        prompts_of(tmp_path, content, name)


def test_marks_of_lists_are_no_part_of_prompts(tmp_path):
    made = prompts_of(tmp_path, "(1) a woman\n[2] a man\n3: a boy\nd) a girl\n5 - a child\n")
    assert [p.text for p in made] == ["a woman", "a man", "a boy", "a girl", "a child"]


def test_lines_end_where_an_editor_ends_them(tmp_path):
    odd = "a man\u2028in a room\u0085and a garden"
    assert lines_of(f"{odd}\r\nb\rc\n") == [odd, "b", "c", ""]
    made = prompts_of(tmp_path, f"{odd}\r\na woman\ra child\n")
    assert [p.text for p in made] == [odd, "a woman", "a child"]
    with pytest.raises(UserError, match=r"p\.txt line 1: the character U\+000C cannot be kept .*; remove it"):
        prompts_of(tmp_path, "a man\x0cin a room\n")
