"""The file that keeps a language model's catalogue. The DAG reads the file and never asks the model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenface.errors import UserError
from evenface.prompts.contextual import writer_of
from evenface.prompts.tables import rows_digest, written
from evenface.prompts.writers.model_writer import ModelWriter
from evenface.prompts.writers.protocol import LanguageModel, PromptWriter
from evenface.storage.atomic import open_own, resumable, write_text
from evenface.storage.text_tables import lines_of


def create_model(settings: Mapping[str, Any], *, device: str = "cpu", threads: int = 1) -> LanguageModel:
    """The language model of checked ``generation.prompts.contextual`` settings; UserError where it cannot be used."""
    writer, block = writer_of(settings)
    return writer.load()(block, device=device, threads=threads)


def write_catalogue(
    task: dict[str, Any],
    settings: Mapping[str, Any],
    out: str | os.PathLike,
    *,
    device: str = "cpu",
    threads: int = 1,
    model: LanguageModel | None = None,
) -> None:
    """Have the ``task`` written and keep it as the CSV file ``out``: columns ``context``, or ``cell`` and ``prompt``.

    Finished lines are kept beside it until all are written; an interrupted writing continues from them.
    UserError if the file is there (it may have been edited), or the writer fails.
    """
    out = Path(out)
    with resumable(out) as own:
        if out.exists():
            raise UserError(f"{out} exists; delete it to have it written again")
        _write(
            task,
            settings,
            out,
            _Progress(own.with_name(f".{own.name}.partial")),
            model or create_model(settings, device=device, threads=threads),
        )


def _write(
    task: dict[str, Any], settings: Mapping[str, Any], out: Path, progress: _Progress, model: LanguageModel
) -> None:
    block = writer_of(settings)[1]
    writer: PromptWriter = ModelWriter(
        model,
        task,
        lines_per_request=block.get("lines_per_request", 10),
        attempts=block.get("attempts", 5),
        known=progress.known,
        keep=progress.keep,
    )
    rows: list[dict[str, str]]
    if task["ask"] == "contexts":
        columns, rows = ["context"], [{"context": text} for text in writer.contexts(task["count"])]
    else:
        columns, rows = ["cell", "prompt"], []
        for cell, person in task["groups"].items():
            rows += [{"cell": cell, "prompt": text} for text in writer.prompts(cell, person, task["count"])]
    notes = {"writer": writer.name, **writer.provenance(), "ask": task["ask"], "seed": str(task["seed"]),
             "version": str(task["version"]), "rows": rows_digest(columns, rows)}  # fmt: skip
    head = "".join(f"# {key}: {' '.join(value.split())}\n" for key, value in notes.items())
    write_text(out, head + written(columns, rows))
    progress.done()


class _Progress:
    """Good lines of an unfinished writing: one JSON array (cell, text) a line."""

    def __init__(self, path: Path):
        self._path = path
        self.known: dict[str, list[str]] = {}
        if path.is_file():
            for line in lines_of(path.read_text(encoding="utf-8", errors="replace")):
                try:
                    cell, text = json.loads(line)
                except (ValueError, TypeError):  # the line a crash cut off
                    continue
                if isinstance(cell, str) and isinstance(text, str):
                    self.known.setdefault(cell, []).append(text)

    def keep(self, cell: str, text: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._path, "a", encoding="utf-8", opener=open_own) as file:
                file.write(json.dumps([cell, text], ensure_ascii=False) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {os.strerror(error.errno or 0)}") from error

    def done(self) -> None:
        self._path.unlink(missing_ok=True)
