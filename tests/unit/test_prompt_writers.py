"""Language models as writers of prompts: a local server that misbehaves, and real models in folders."""

import json
import logging
import re
import shutil
import time
from copy import deepcopy

import pytest
import torch

from chat import Reply, lines, save_language_model, serve_chat
from evenface.configuration import check_config
from evenface.errors import UserError
from evenface.prompts.contextual import contextual, writing_task, written_file
from evenface.prompts.writers import commands
from evenface.prompts.writers.instructions import contexts_instruction, parse_answer, prompts_instruction
from evenface.prompts.writers.openai.endpoint import Endpoint
from evenface.prompts.writers.writing import write_catalogue
from evenface.storage.text_tables import read_table

GOOD = [
    "in a park under overcast light, wearing a green jacket",
    "at a kitchen table with soft window light",
    "on a ferry deck, wind from the left",
    "in a library between two shelves",
    "beside a stone fountain at noon",
    "in a train carriage, looking out of the window",
]
SMALL = {"ethnicity": [], "gender": ["female", "male"], "age": [], "hair_colour": ["black"], "prompts_per_cell": 3}


pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def chat():
    with serve_chat() as server:
        yield server


@pytest.fixture
def configured(shipped_config):
    """A whole checked configuration with contextual prompts, changed by keywords."""

    def make(**changes):
        config = deepcopy(shipped_config)
        config["generation"]["prompts"] = {"factorial": None, "contextual": {**SMALL, **changes}}
        return check_config(config)

    return make


@pytest.fixture
def settings(configured):
    return lambda **changes: configured(**changes)["generation"]["prompts"]["contextual"]


def endpoint(url, **more):
    return {"writer": "openai", "openai": {"base_url": url, "model": "m", "retries": 2, "attempts": 2, **more}}


class Pauses(list):
    """Stands for sleeping: notes how long."""

    def __call__(self, seconds):
        self.append(seconds)


def write(settings, out, pauses=None, environment=None):
    """The catalogue written by the configured endpoint, without waiting between attempts."""
    model = Endpoint(settings["openai"], environment or {}, pauses if pauses is not None else Pauses())
    write_catalogue(writing_task(settings, 0), settings, out, model=model)
    return [row["context"] for _, row in read_table(out, "k").rows]


# --- the endpoint ---


def test_a_good_answer_becomes_a_file_that_the_plan_reads(chat, settings, tmp_path):
    chat.says(lines("context", *GOOD[:3]))
    chosen = settings(**endpoint(chat.url, temperature=0.5))
    out = tmp_path / written_file(chosen, 0)
    assert write(chosen, out) == GOOD[:3]
    ((path, headers, body),) = chat.requests
    assert path == "/v1/chat/completions" and body["model"] == "m" and body["temperature"] == 0.5
    assert body["messages"][0]["content"].startswith("Write 3 different contexts") and "authorization" not in headers
    notes = read_table(out, "k").notes
    assert notes["writer"] == "openai" and notes["answered by"] == "served-model" and notes["requests"] == "1"
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    made = contextual(chosen, seed=0, base=tmp_path)
    assert made.findings == [] and len(made.cases) == 6


def test_the_same_answers_give_the_same_bytes(chat, settings, tmp_path):
    chosen = settings(**endpoint(chat.url))
    for name in ("a.csv", "b.csv"):
        chat.says(lines("context", *GOOD[:3]))
        write(chosen, tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert chat.requests[0][2] == chat.requests[1][2]


def test_too_few_are_asked_for_again_and_too_many_are_cut(chat, settings, tmp_path):
    chat.says(lines("context", GOOD[0]), lines("context", *GOOD))
    assert write(settings(**endpoint(chat.url)), tmp_path / "p.csv") == [GOOD[0], GOOD[1], GOOD[2]]
    second = chat.requests[1][2]["messages"][0]["content"]
    assert second.startswith("Write 2 different contexts") and f"- {GOOD[0]}" in second
    assert chat.requests[0][2]["seed"] != chat.requests[1][2]["seed"]


def test_lines_that_fail_a_check_are_refused_with_the_reason(chat, settings, tmp_path):
    bad = ["in a snowfield, no hat", "she stands on a bridge", "in front of a golden wall", "stone " * 60]
    chat.says(lines("context", *bad), lines("context", GOOD[0], GOOD[0].upper()), lines("context", *GOOD[1:]))
    assert (
        write(settings(**endpoint(chat.url, lines_per_request=4), prompts_per_cell=4), tmp_path / "p.csv") == GOOD[:4]
    )
    told = chat.requests[1][2]["messages"][0]["content"]
    for reason in (
        "'no' negates",
        "'she' points at gender female",
        "'golden' states, denies or hides",
        "60 tokens, 50 fit",
    ):
        assert reason in told, reason
    assert read_table(tmp_path / "p.csv", "k").notes["lines refused"] == "5"


def test_garbage_ends_after_a_bound_with_what_was_wrong(chat, settings, tmp_path):
    chat.says("I am sorry, I cannot do that.")
    with pytest.raises(
        UserError, match=r"openai wrote 0 of 3 usable contexts.*last 2 answers.*line 1 is not a JSON object"
    ):
        write(settings(**endpoint(chat.url)), tmp_path / "p.csv")
    assert len(chat.requests) == 2 and list(tmp_path.iterdir()) == []


def test_malformed_completions_and_server_errors_are_tried_again(chat, settings, tmp_path):
    chat.says(
        Reply(body=b"<html>busy</html>"),
        Reply(body=b"{}", status=500),
        Reply(lines("context", *GOOD[:2])),
        Reply(body=b'{"choices": []}'),
        Reply(body=json.dumps({"choices": [{"message": {"content": 5}}]}).encode()),
        Reply(lines("context", GOOD[2])),
    )
    pauses = Pauses()
    assert write(settings(**endpoint(chat.url)), tmp_path / "p.csv", pauses) == GOOD[:3]
    assert pauses == [2, 4, 2, 4]


def test_the_pause_a_server_asks_for_is_kept_to_a_bound(chat, settings, tmp_path):
    chat.says(
        Reply(status=429, headers={"Retry-After": "7"}), Reply(status=503, headers={"Retry-After": "9999"}),
        Reply(lines("context", *GOOD[:3])),
    )  # fmt: skip
    pauses = Pauses()
    write(settings(**endpoint(chat.url)), tmp_path / "p.csv", pauses)
    assert pauses == [7, 60]


def test_errors_that_stay_are_one_sentence_and_keep_what_was_written(chat, settings, tmp_path):
    chosen = settings(**endpoint(chat.url))
    chat.says(lines("context", *GOOD[:2]), Reply(status=500, body=b'{"error": {"message": "out of\\nmemory"}}'))
    with pytest.raises(UserError, match=r"the server answers 500 \(out of memory\), after 3 attempts"):
        write(chosen, tmp_path / "p.csv")
    assert [p.name for p in tmp_path.iterdir()] == [".p.csv.partial"]
    with open(tmp_path / ".p.csv.partial", "a") as file:
        file.write('["", "cut o')  # as a crash leaves it
    chat.says(lines("context", GOOD[3]))
    assert write(chosen, tmp_path / "p.csv") == [GOOD[0], GOOD[1], GOOD[3]]
    assert [p.name for p in tmp_path.iterdir()] == ["p.csv"]


def test_silence_is_bounded(chat, settings, tmp_path):
    chosen = settings(**endpoint(chat.url, timeout=0.2, retries=1))
    for reply in (Reply("x", delay=5), Reply("x" * 500, drip=0.05)):
        chat.says(reply)
        start = time.monotonic()
        with pytest.raises(UserError, match=r"no answer within 0\.2 s, after 2 attempts"):
            write(chosen, tmp_path / "p.csv")
        assert time.monotonic() - start < 3


def test_a_cut_connection_is_tried_again(chat, settings, tmp_path):
    chat.says(Reply(lines("context", *GOOD[:3]), cut=50), Reply(lines("context", *GOOD[:3])))
    assert write(settings(**endpoint(chat.url)), tmp_path / "p.csv") == GOOD[:3]


@pytest.mark.parametrize("size", [2049, 3_000_000])
@pytest.mark.parametrize("length", [True, False])
def test_an_answer_that_is_too_large_is_not_read(chat, settings, tmp_path, length, size):
    chat.says(Reply(body=b"x" * size, length=length))
    with pytest.raises(UserError, match="the answer is larger than 2048 bytes"):
        write(settings(**endpoint(chat.url, max_answer_bytes=2048)), tmp_path / "p.csv")
    assert len(chat.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_follows_a_redirect(chat, settings, tmp_path, status):
    with serve_chat() as other:
        other.says(lines("context", *GOOD))
        chat.says(Reply(status=status, headers={"Location": f"{other.url}/chat/completions"}, body=b""))
        with pytest.raises(UserError, match=r"redirects to .*; nothing was sent there"):
            write(settings(**endpoint(chat.url, api_key_env="K")), tmp_path / "p.csv", environment={"K": "secret-1"})
        assert other.requests == []


def test_the_key_is_sent_and_stored_nowhere(chat, settings, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    chosen = settings(**endpoint(chat.url, api_key_env="MY_KEY"))
    said = b'{"error": {"message": "Incorrect key provided: sk-very-secret."}}'
    chat.says(Reply(status=500, body=said), lines("context", GOOD[0]), Reply(status=401, body=said))
    with pytest.raises(
        UserError, match=r"answers 401: it does not accept the key in MY_KEY .*provided: \*\*\*"
    ) as caught:
        write(chosen, tmp_path / "p.csv", environment={"MY_KEY": " sk-very-secret\n"})
    assert chat.requests[0][1]["authorization"] == "Bearer sk-very-secret"
    written = "".join(p.read_text() for p in tmp_path.iterdir())
    told = caplog.text + str(caught.value) + written + json.dumps(writing_task(chosen, 0))
    assert "very-secret" not in told and "MY_KEY" not in json.dumps(writing_task(chosen, 0))
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("change", "environment", "message"),
    [
        ({"api_key_env": "K"}, {}, "environment variable K .* is not set"),
        ({"api_key_env": "K"}, {"K": "a b"}, "holds characters that no key has"),
        ({"api_key_env": "K", "base_url": "http://example.org/v1"}, {"K": "x"}, "is not encrypted"),
        ({"base_url": "http://me:pass@localhost/v1"}, {}, "holds a user name or password"),
        ({"base_url": "https://"}, {}, "is not an address such as"),
    ],
)
def test_an_endpoint_that_cannot_be_asked_safely(settings, change, environment, message):
    chosen = settings(**endpoint("http://localhost:1/v1", **change))
    with pytest.raises(UserError, match=message) as caught:
        Endpoint(chosen["openai"], environment)
    assert "pass" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            400,
            b"bad \x1b[31m temperature",
            r"answers 400: it refuses the request; check the settings .*\(bad .*temperature\)",
        ),
        (403, b"", "it may want a key"),
        (404, b"{}", "the address or the model 'm' does not exist; base_url usually ends in /v1"),
    ],
)
def test_what_the_server_refuses_is_said_once(chat, settings, tmp_path, status, body, message):
    chat.says(Reply(status=status, body=body))
    with pytest.raises(UserError, match=message) as caught:
        write(settings(**endpoint(chat.url)), tmp_path / "p.csv")
    assert len(chat.requests) == 1 and "\x1b" not in str(caught.value)


def test_servers_that_call_the_limit_by_its_newer_name(chat, settings, tmp_path):
    wants = b'{"error": {"message": "Unsupported parameter: use max_completion_tokens instead."}}'
    chat.says(Reply(status=400, body=wants), Reply(lines("context", *GOOD[:3])))
    write(settings(**endpoint(chat.url)), tmp_path / "p.csv")
    assert "max_completion_tokens" in chat.requests[1][2] and "max_tokens" not in chat.requests[1][2]


def test_nobody_there(settings, tmp_path):
    with serve_chat() as gone:
        url = gone.url
    with pytest.raises(UserError, match=r"no connection .*, after 3 attempts; check that the server runs"):
        write(settings(**endpoint(url)), tmp_path / "p.csv")


def test_whole_prompts_are_asked_for_group_by_group(chat, settings, tmp_path):
    def three(person, words):
        return lines("prompt", *(f"portrait photo of {person}, in a {w}" for w in words))

    woman, man = "a woman with black hair", "a man with black hair"
    chat.says(
        three(woman, ["park", "kitchen", "skirt"]), three(woman, ["forest"]), three(man, ["park", "library"]),
        three("a person", ["market"]), three(man, ["market"]),
    )  # fmt: skip
    chosen = settings(**endpoint(chat.url), ask="prompts")
    out = tmp_path / written_file(chosen, 0)
    write_catalogue(writing_task(chosen, 0), chosen, out, model=Endpoint(chosen["openai"], {}, Pauses()))
    rows = [row for _, row in read_table(out, "k").rows]
    assert [row["cell"] for row in rows] == ["female-black"] * 3 + ["male-black"] * 3
    assert "in a skirt" in rows[2]["prompt"], "a group's own words are its own"
    assert "it does not contain the words 'a man with black hair'" in chat.requests[2][2]["messages"][0]["content"]
    assert contextual(chosen, seed=0, base=tmp_path).findings == []
    assert f'"{woman}"' in chat.requests[0][2]["messages"][0]["content"]


def test_the_command_writes_checks_and_shows(chat, configured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configured(**endpoint(chat.url))
    chat.says(lines("context", *GOOD[:3]))
    said = commands.write(config)
    assert re.match(r"data/prompts/contextual-\w{10}\.csv: written\n", said) and "the catalogue can be used" in said
    with pytest.raises(UserError, match="exists; delete it to have it written again"):
        commands.write(config)
    path = tmp_path / said.split(":")[0]
    assert "edited" not in commands.show(config) and "writer: openai" in commands.show(config)
    path.write_text(path.read_text().replace("green jacket", "straw hat"))
    table, good = commands.check(config)
    assert not good and re.search(r"stops  target +data/prompts/\S+ row \d+ +'hat' states, denies or hides", table)
    assert "edited since it was written" in commands.show(config)
    assert "6 prompts, 2 groups, 3 different contexts: the catalogue cannot be used" in table


def test_the_catalogue_of_any_form_can_be_exported_and_read_again(configured, tmp_path, monkeypatch):
    from evenface.prompts.catalogue import build_catalogue

    monkeypatch.chdir(tmp_path)
    config = configured(prompts_per_cell=5)
    assert commands.write(config).startswith("nothing to write")
    commands.export(config, "mine.csv")
    first = build_catalogue(config["generation"]["prompts"], seed=config["seed"])
    again = build_catalogue({"file": "mine.csv"}, seed=0)
    assert [(p.cell, p.text, p.demographics, p.attributes) for p in first] == [
        (p.cell, p.text, p.demographics, p.attributes) for p in again
    ]
    with pytest.raises(UserError, match="exists"):
        commands.export(config, "mine.csv")
    with pytest.raises(UserError, match=r"ends in \.csv"):
        commands.export(config, "mine.txt")


# --- reading answers ---


@pytest.mark.parametrize(
    ("answer", "texts", "refused"),
    [
        ('{"context": "in a park"}', ["in a park"], []),
        ('```json\n{"context": "in a park"}\n```', ["in a park"], []),
        ('<think>hm\n{"context": "no"}</think>\n{"context": "in  a\\tpark"}', ["in a park"], []),
        ("", [], ["the answer was empty"]),
        ('Sure! Here:\n{"context": "in a park"}', ["in a park"], ["line 1 is not a JSON object"]),
        ('[{"context": "in a park"}]', [], ["line 1 must be"]),
        ('{"context": "in a park", "x": 1}', [], ["one key"]),
        ('{"context": "a park", "context": "a bridge"}', [], ["one key"]),
        ('{"prompt": "in a park"}', [], ["one key"]),
        ('{"context": 3}', [], ["not text"]),
        ('{"context": "x"}', [], ["of 1 characters"]),
        ('{"context": "' + "y" * 700 + '"}', [], ["of 700 characters"]),
        ('{"context": "' + "y" * 5000 + '"}', [], ["has 50.. characters"]),
        ('{"context": "in\\u0000 a park"}', [], ["printable"]),
        ('{"context": "in a pa', [], ["is not a JSON"]),
        ("[" * 3000, [], ["is not a JSON"]),
        ("\n".join(["nonsense"] * 1000), [], ["line 1 is"] + ["is not"] * 10),
    ],
)
def test_answers_are_read_strictly(answer, texts, refused):
    got, reasons = parse_answer(answer, "context", 3)
    assert got == texts and len(reasons) == len(refused)
    assert all(re.search(pattern, reason) for pattern, reason in zip(refused, reasons)), reasons


def test_the_examples_of_the_instructions_pass_their_own_checks(settings):
    task = writing_task(settings(**endpoint("http://localhost:1/v1")), 0)
    example = contexts_instruction(task, 3).splitlines()[-1]
    assert parse_answer(example, "context", 1)[1] == []
    assert "hair" in contexts_instruction(task, 3)
    whole = prompts_instruction({**task, "opening": "portrait photo of"}, "a woman with black hair", 3)
    assert "a woman with black hair" in parse_answer(whole.splitlines()[-1], "prompt", 1)[0][0]


# --- local models ---


@pytest.fixture(scope="module")
def babbling(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def knowing(tmp_path_factory):
    said = [json.dumps({"context": text}) for text in (GOOD[0], "she is on a bridge", *GOOD[1:3])]
    return save_language_model(tmp_path_factory.mktemp("knows"), said)


def local(folder, **more):
    return {
        "writer": "transformers",
        "transformers": {"folder": str(folder), "max_new_tokens": 40, "attempts": 2, **more},
    }


def test_a_local_model_writes_the_catalogue(knowing, settings, tmp_path, monkeypatch):
    import socket

    def refuse(*arguments, **options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    chosen = settings(**local(knowing, temperature=0, lines_per_request=4))
    out = tmp_path / written_file(chosen, 0)
    write_catalogue(writing_task(chosen, 0), chosen, out)
    table = read_table(out, "k")
    assert [row["context"] for _, row in table.rows] == GOOD[:3]
    assert table.notes["writer"] == "transformers" and table.notes["lines refused"] == "1"
    assert re.fullmatch("[0-9a-f]{64}", table.notes["weights sha256"]) and str(tmp_path) not in out.read_text()
    assert contextual(chosen, seed=0, base=tmp_path).findings == []


def test_a_random_model_is_given_up_after_a_bound(babbling, settings, tmp_path):
    chosen = settings(**local(babbling))
    with pytest.raises(UserError, match=r"transformers wrote 0 of 3 usable contexts, and nothing usable in its last 2"):
        write_catalogue(writing_task(chosen, 0), chosen, tmp_path / "p.csv")
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_gives_the_same_answer_and_leaves_the_generator_alone(babbling, settings):
    import torch

    from evenface.prompts.writers.transformers.local_model import LocalModel

    model = LocalModel(settings(**local(babbling))["transformers"])
    state = torch.random.get_rng_state()
    first, second, other = model.answer("write", 1), model.answer("write", 1), model.answer("write", 2)
    assert first == second != other and first.strip()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_folders_that_hold_no_usable_model(babbling, settings, tmp_path):
    def refused(folder, message):
        chosen = settings(**local(folder))
        with pytest.raises(UserError, match=message) as caught:
            write_catalogue(writing_task(chosen, 0), chosen, tmp_path / "p.csv")
        assert str(folder) in str(caught.value)

    refused(tmp_path / "absent", "the folder does not exist")
    broken = tmp_path / "broken"
    shutil.copytree(babbling, broken)
    weights = broken / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:1000])
    refused(broken, "its header claims .* cut short|cut short .it has 1000 of")
    weights.unlink()
    refused(broken, "the weights must be .*safetensors, there is none")
    torch.save({}, broken / "pytorch_model.bin")
    refused(broken, r"only pytorch_model\.bin, which is not opened")
    (broken / "other.safetensors").write_bytes(data)
    refused(broken, "transformers cannot open a causal language model there")
    (broken / "other.safetensors").unlink()
    weights.write_bytes(data)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(
        json.dumps({**config, "model_type": "own", "auto_map": {"AutoConfig": "own.Own"}})
    )
    (broken / "own.py").write_text("raise SystemExit('code of the model was run')")
    refused(broken, "cannot open a causal language model")
    (broken / "config.json").unlink()
    refused(broken, r"config\.json is missing")


def test_an_instruction_beyond_the_models_context(settings, tmp_path):
    folder = save_language_model(tmp_path / "short", positions=64)
    chosen = settings(**local(folder))
    with pytest.raises(
        UserError, match=r"the instruction has \d+ tokens and the model reads 64; use a model with a longer"
    ):
        write_catalogue(writing_task(chosen, 0), chosen, tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state, name: state.update({name: state[name] * float("nan")}), "values that are not finite numbers"),
        (lambda state, name: state.pop(name), "is missing"),
        (lambda state, name: state.update({f"{name}.more": torch.ones(2)}), "is unknown to the network"),
        (lambda state, name: state.update({name: torch.ones(3, 3)}), r"has shape \(3, 3\), the network"),
        (
            lambda state, name: state.update({f"module.{n}": state.pop(n) for n in list(state)}),
            "is missing .*it has 'module",
        ),
    ],
    ids=["nan", "missing", "unknown", "misshapen", "renamed"],
)
def test_damaged_weights_are_refused_before_the_first_answer(babbling, settings, tmp_path, damage, message):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "damaged"
    shutil.copytree(babbling, folder)
    state = load_file(folder / "model.safetensors")
    damage(state, next(name for name in state if name.endswith("mlp.up_proj.weight") or "c_fc.weight" in name))
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    chosen = settings(**local(folder))
    with pytest.raises(UserError, match=message) as caught:
        write_catalogue(writing_task(chosen, 0), chosen, tmp_path / "p.csv")
    assert str(caught.value).startswith(f"{folder / 'model.safetensors'}: tensor '")


def test_an_output_layer_that_is_the_embedding_may_be_there_or_not(tmp_path):
    """Both are the same tensor in models with tied embeddings; each file gives the same network."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

    from evenface.checkpoints.libraries import load_from_folder
    from evenface.storage.safetensors import files_of_network

    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=8, n_embd=4, n_layer=1, n_head=1)).eval()
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    assert "lm_head.weight" not in state
    for more in ({}, {"lm_head.weight": state["transformer.wte.weight"].clone()}):
        save_file(state | more, tmp_path / "model.safetensors", {"format": "pt"})
        loaded = load_from_folder(AutoModelForCausalLM, tmp_path, files_of_network(tmp_path), local_files_only=True)
        assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    del state["transformer.wte.weight"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"model.safetensors: tensor '.*' is missing"):
        load_from_folder(AutoModelForCausalLM, tmp_path, files_of_network(tmp_path), local_files_only=True)
