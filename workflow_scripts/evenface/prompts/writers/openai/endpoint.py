"""A language model behind an address that speaks OpenAI's chat protocol.

The key comes from an environment variable and goes into one header: never into a file, a log or a
message. Nothing is sent anywhere but to the configured address: redirects are refused.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from evenface.errors import UserError
from evenface.http import Patience, Retry, answer, blocks, client, keep_trying, retry_where_passing
from evenface.prompts.contextual import KEY

log = logging.getLogger("evenface")


def _allow(origin: str, target: str) -> None:
    """Always UserError: what is sent is for the configured address."""
    raise UserError(
        f"{origin}: the endpoint redirects to {target}; nothing was sent there. If you trust that address, make it "
        f"the config key {KEY}.openai.base_url"
    )


class Endpoint:
    """``settings`` is the block ``generation.prompts.contextual.openai``; ``environment`` holds the key's variable."""

    name = "openai"

    def __init__(
        self,
        settings: Mapping[str, Any],
        environment: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
        **machine: Any,  # device and threads, which it leaves to the other side
    ):
        self._settings, self._sleep = settings, sleep
        base = settings["base_url"].rstrip("/")
        parts = urllib.parse.urlsplit(base)
        key = f"config key {KEY}.openai"
        if not parts.hostname or parts.query or parts.fragment:
            raise UserError(f"{key}.base_url: {base!r} is not an address such as http://localhost:8000/v1")
        if parts.username or parts.password:
            raise UserError(f"{key}.base_url holds a user name or password; put the key into an environment variable and "
                            "name that in api_key_env")  # fmt: skip
        self.url = f"{base}/chat/completions"
        local = _is_local(parts.hostname)
        self._key = self._read_key(settings["api_key_env"], environment)
        if self._key and parts.scheme == "http" and not local:
            raise UserError(f"{key}.base_url: {base} is not encrypted, and the key of api_key_env would be readable on the way; "
                            "use https, or set api_key_env to null")  # fmt: skip
        self._client = client(_allow, proxies=not local)
        self._patience = Patience(settings["timeout"], settings["retries"] + 1, longest_pause=60.0)
        self._length_key = "max_tokens"
        self._answered_by = ""

    @staticmethod
    def _read_key(name: str | None, environment: Mapping[str, str]) -> str:
        if not name:
            return ""
        value = environment.get(name, "").strip()
        if not value:
            raise UserError(f"the environment variable {name} (config key {KEY}.openai.api_key_env) is not set; set it to the "
                            f"endpoint's key: export {name}=...")  # fmt: skip
        if not value.isascii() or not value.isprintable() or " " in value:
            raise UserError(f"the environment variable {name} (config key {KEY}.openai.api_key_env) holds characters that no key "
                            "has; set it again")  # fmt: skip
        return value

    def provenance(self) -> dict[str, str]:
        """Address, model as asked for and as the server names it, and the settings that were sent."""
        sent = {key: str(self._settings[key]) for key in ("base_url", "model", "temperature", "max_tokens")}
        return {**sent, "answered by": self._answered_by}

    def answer(self, instruction: str, seed: int) -> str:
        """The text of the first choice; UserError after ``retries`` further attempts, or at once where repeating cannot help."""
        remedy = "check that the server runs and the address is right, and run again: what has been written is kept"
        return keep_trying(
            lambda: self._once(instruction, seed), self._patience, self.url, lambda: remedy, sleep=self._sleep
        )

    def _body(self, instruction: str, seed: int) -> bytes:
        body: dict[str, Any] = {
            "model": self._settings["model"],
            "messages": [{"role": "user", "content": instruction}],
            self._length_key: self._settings["max_tokens"],
            "seed": seed,
            "stream": False,
        }
        if self._settings["temperature"] is not None:
            body["temperature"] = self._settings["temperature"]
        return json.dumps(body).encode()

    def _once(self, instruction: str, seed: int) -> str:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity",
                   "User-Agent": "evenface (prompts)"}  # fmt: skip
        request = urllib.request.Request(self.url, self._body(instruction, seed), headers, method="POST")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        deadline = time.monotonic() + self._patience.timeout
        with answer(self._client, request, self._patience.timeout, self._refused) as reply:
            return self._content(self._read(reply, deadline))

    def _read(self, reply: Any, deadline: float) -> bytes:
        """The body, of at most ``max_answer_bytes`` and until ``deadline``."""
        most = self._settings["max_answer_bytes"]
        length = reply.headers.get("Content-Length", "")
        too_large = UserError(f"{self.url}: the answer is larger than {most} bytes; nothing of it was used. Ask for fewer "
                              f"lines at a time ({KEY}.openai.lines_per_request) or raise max_answer_bytes")  # fmt: skip
        data = b"".join(blocks(reply, most, lambda: too_large, deadline))
        if length.isdigit() and len(data) < int(length):
            raise Retry("the connection was cut")
        return data

    def _content(self, data: bytes) -> str:
        try:
            answer = json.loads(data.decode("utf-8"))
            choice = answer["choices"][0]["message"]["content"]
            answered_by = answer.get("model", "")
        except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
            raise Retry("the answer is not that of a chat completion (choices[0].message.content)") from None
        self._answered_by = answered_by[:200] if isinstance(answered_by, str) and answered_by.isprintable() else ""
        if choice is None:  # refused, or spent on reasoning
            return ""
        if not isinstance(choice, str):
            raise Retry("the answer's choices[0].message.content is not text")
        return choice

    def _refused(self, error: urllib.error.HTTPError) -> NoReturn:
        """Turn an HTTP error into another attempt, or into what to do about it."""
        says = self._said(error)
        retry_where_passing(error, says)
        if error.code == 400 and self._length_key == "max_tokens" and "max_completion_tokens" in says:
            self._length_key = "max_completion_tokens"
            raise Retry("this server wants max_completion_tokens") from None
        named = self._settings["api_key_env"]
        meaning = {
            401: f"it does not accept the key in {named}"
            if named
            else "it wants a key; name its variable in api_key_env",
            403: f"it refuses the key in {named}"
            if named
            else "it refuses the request; it may want a key (api_key_env)",
            404: f"the address or the model {self._settings['model']!r} does not exist; base_url usually ends in /v1",
            413: "the request is too large for it; lower lines_per_request",
        }.get(error.code, f"it refuses the request; check the settings of {KEY}.openai")
        raise UserError(f"{self.url}: the server answers {error.code}: {meaning}{says}") from None

    def _said(self, error: urllib.error.HTTPError) -> str:
        """The beginning of an error's text, in brackets; the key, should the server repeat it, is blotted out."""
        try:
            text = error.read(4096).decode("utf-8", "replace")
            answer = json.loads(text)
            text = str(answer["error"]["message"])
        except (OSError, http.client.HTTPException):
            return ""
        except (ValueError, RecursionError, KeyError, TypeError, IndexError):
            pass
        if self._key:
            text = text.replace(self._key, "***")
        text = "".join(c if c.isprintable() else " " for c in text).strip()
        return f" ({' '.join(text.split())[:200]})" if text else ""


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
