"""A causal language model in a folder of this machine, opened by transformers without a network."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenface.errors import UserError, raise_if_machine
from evenface.prompts.contextual import KEY
from evenface.storage.weight_index import check_weight_indexes

log = logging.getLogger("evenface")

_BLOCK = 1 << 20


class LocalModel:
    """``settings`` is the block ``generation.prompts.contextual.transformers``.

    The folder holds config.json, a tokenizer and safetensors. Weights in pickles and models with code of their own are
    refused. Raises UserError naming the folder where it cannot be used.
    """

    name = "transformers"

    def __init__(self, settings: Mapping[str, Any], *, device: str = "cpu", threads: int = 1):
        self._settings = settings
        self.folder = Path(settings["folder"])
        self._check_folder()
        os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(self.folder, **options)
            model = AutoModelForCausalLM.from_pretrained(
                self.folder, use_safetensors=True, dtype=getattr(torch, settings["precision"]), **options
            )
        except Exception as error:  # whatever transformers raises for a folder it cannot use
            raise_if_machine(error, self.folder)
            raise UserError(
                f"{self.folder}: transformers cannot open a causal language model there ({_line(error)}); give a folder with "
                "config.json, the tokenizer and safetensors of one"
            ) from error
        self._model = model.eval().to(device)
        self._device = device

    def _check_folder(self) -> None:
        place = f"{self.folder} (config key {KEY}.transformers.folder)"
        if not self.folder.is_dir():
            raise UserError(f"{place}: the folder does not exist; download the language model into it first")
        if not (self.folder / "config.json").is_file():
            raise UserError(f"{place}: config.json is missing; give the folder that holds the language model's files")
        check_weight_indexes(self.folder)
        self._weights = sorted(self.folder.glob("*.safetensors"))
        if not self._weights:
            others = [path.name for path in self.folder.iterdir() if path.suffix in (".bin", ".pt", ".gguf")]
            found = f"only {others[0]}, which is not opened" if others else "none"
            raise UserError(f"{place}: the weights must be *.safetensors, there is {found}; get them in that format")

    def provenance(self) -> dict[str, str]:
        """The folder's name, the hash of the weights, and the settings of sampling."""
        digest = hashlib.sha256()
        for path in self._weights:
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        kept = {key: str(self._settings[key]) for key in ("temperature", "top_p", "max_new_tokens", "precision")}
        return {"model": self.folder.name, "weights sha256": digest.hexdigest(), **kept}

    def answer(self, instruction: str, seed: int) -> str:
        """What the model goes on with after the instruction, by its chat template where it has one."""
        torch, settings = self._torch, self._settings
        if getattr(self._tokenizer, "chat_template", None):
            chat = [{"role": "user", "content": instruction}]
            text = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            tokens = self._tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        else:
            tokens = self._tokenizer(instruction + "\n", return_tensors="pt")["input_ids"]
        room = getattr(self._model.config, "max_position_embeddings", None)
        new = settings["max_new_tokens"]
        if room is not None:
            new = min(new, room - tokens.shape[1])
            if new < 16:
                raise UserError(
                    f"{self.folder}: the instruction has {tokens.shape[1]} tokens and the model reads {room}; use a model with a "
                    f"longer context, or ask for fewer lines at a time ({KEY}.transformers.lines_per_request)"
                )
        sampling = settings["temperature"] > 0
        chosen = {"temperature": settings["temperature"], "top_p": settings["top_p"]} if sampling else {}
        pad = self._tokenizer.pad_token_id
        end = self._tokenizer.eos_token_id
        devices = [self._device] if self._device != "cpu" else []
        try:
            with torch.inference_mode(), torch.random.fork_rng(devices):
                torch.manual_seed(seed)
                out = self._model.generate(
                    tokens.to(self._device),
                    attention_mask=torch.ones_like(tokens).to(self._device),
                    do_sample=sampling,
                    max_new_tokens=new,
                    pad_token_id=pad if pad is not None else (end if end is not None else 0),
                    **chosen,
                )
        except (RuntimeError, ValueError, IndexError) as error:
            raise UserError(
                f"{self.folder}: the model cannot answer ({_line(error)}); its weights may be damaged, or too large for this "
                "machine"
            ) from error
        return self._tokenizer.decode(out[0, tokens.shape[1] :], skip_special_tokens=True)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
