"""A local server of OpenAI's chat protocol that answers as scripted, and small language models in folders."""

from __future__ import annotations

import json
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from web import served


@dataclass
class Reply:
    """One answer: ``text`` becomes a chat completion; ``body`` is sent as it is instead.

    ``status`` and ``headers`` as given; ``delay`` seconds before the answer; ``drip`` seconds between its
    bytes; ``cut`` closes after so many bytes; ``length`` False leaves Content-Length out.
    """

    text: str | None = None
    body: bytes | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    cut: int | None = None
    length: bool = True

    def data(self) -> bytes:
        if self.body is not None:
            return self.body
        message = {"role": "assistant", "content": self.text}
        return json.dumps({"model": "served-model", "choices": [{"message": message}]}).encode()


class Chat:
    """Replies in order (the last for good), and what came: (path, headers, body)."""

    def __init__(self, address: str):
        self.address = address
        self.url = f"{address}/v1"
        self.replies: list[Reply] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.over = threading.Event()

    def says(self, *replies: Reply | str) -> None:
        self.replies = [Reply(one) if isinstance(one, str) else one for one in replies]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Chat

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.site.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, asked))
        reply = self.site.replies.pop(0) if len(self.site.replies) > 1 else self.site.replies[0]
        self.site.over.wait(reply.delay)
        data = reply.data()
        self.close_connection = True
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.length:
                self.send_header("Content-Length", str(len(data)))
            self.send_header("Connection", "close")
            self.end_headers()
            if reply.drip:
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    if self.site.over.is_set():
                        break
                    time.sleep(reply.drip)
            else:
                self.wfile.write(data[: reply.cut])
        except (BrokenPipeError, ConnectionResetError):
            pass

    def do_GET(self):
        self.site.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, {}))
        self.send_error(404)


def serve_chat() -> AbstractContextManager[Chat]:
    """A server that replies as it is told."""
    return served(_Handler, Chat)


def lines(key: str, *texts: str) -> str:
    """Texts as the JSON lines a model is asked for."""
    return "\n".join(json.dumps({key: text}) for text in texts)


def save_language_model(folder: Path, says: list[str] | None = None, positions: int = 4096) -> Path:
    """A tiny GPT-2 with its tokenizer, saved as published models are.

    Without ``says`` its weights are random. With it, it knows these lines by heart: after any
    text it says them one after the other, then ends.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    spoken = [line + "\n" for line in says or []]
    words = [f"word{i}" for i in range(60)] + ['{"context":', '"}', "in a park", "no", "{", "}"]
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<end>", *spoken, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    size = len(vocabulary)
    width = -(-size // 4) * 4
    torch.manual_seed(3)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=size,
            n_positions=positions,
            n_embd=width,
            n_layer=1,
            n_head=2,
            bos_token_id=1,
            eos_token_id=1,
            tie_word_embeddings=False,
        )
    )
    if says:
        state = model.state_dict()
        for name, tensor in state.items():
            if "ln_" in name and name.endswith("weight"):
                tensor.fill_(1.0)
            else:
                tensor.zero_()
        state["transformer.wte.weight"][:, :size] = torch.eye(size)
        follows = {0: 2, **{i: i + 1 for i in range(2, 1 + len(spoken))}, 1 + len(spoken): 1}
        for before, after in follows.items():
            state["lm_head.weight"][after, before] = 20.0
        model.load_state_dict(state)
    model.save_pretrained(folder)
    return folder
