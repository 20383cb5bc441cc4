"""Plain HTTP downloads that survive cut connections and keep only verified files.

The received part is kept beside the destination as ``.<name>.download``, with a note of the server's statements
about the file (``.<name>.download.json``). The next attempt asks for the rest, if the file is still the same
(RFC 9110, If-Range); otherwise, or if the server cannot do this, it starts again. Only a complete file with the
expected hash is renamed to its destination. Proxies are taken from the environment.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from evenface.assets.lock import Lock
from evenface.assets.places import MAX_BYTES, bytes_in_words
from evenface.errors import UserError
from evenface.http import Patience, Retry, answer, blocks, client, keep_trying, retry_where_passing
from evenface.joblog import progress
from evenface.storage.atomic import exclusive, open_own, write_json

log = logging.getLogger("evenface")

_UNIT = 1 << 20
_AGENT = "evenface (asset download)"


class WrongHash(UserError):
    """The downloaded file is complete, but it is not the expected one."""


class _Restart(Exception):
    """The received part cannot be continued; start again at the first byte."""


@dataclass(frozen=True)
class _Kept:
    """The note beside a partial file: its address, and the server's name for that version."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """The value for If-Range: a strong entity tag, or the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def _allow(origin: str, target: str) -> None:
    """UserError for a redirect to something other than http and https, or from https to http."""
    scheme = urllib.parse.urlsplit(target).scheme
    if scheme not in ("http", "https") or (origin.startswith("https:") and scheme != "https"):
        raise UserError(f"{origin}: refused to follow a redirect to {target}, which is less safe")


def download(
    url: str,
    destination: str | os.PathLike,
    *,
    sha256: str | None = None,
    size: int | None = None,
    max_bytes: int | None = None,
    patience: Patience | None = None,
) -> str:
    """Download ``url`` to ``destination`` and return its SHA-256 (hexadecimal).

    ``sha256`` is the expected hash, or its first digits. ``size`` is the exact number of bytes; without it, at most
    ``max_bytes`` are accepted. Raises UserError, naming the address and the remedy, if the file does not exist, is
    refused or too large, or has another hash; if the disk is full; and after too many failures. A partial file is
    then kept for the next call, unless its content is wrong.
    """
    destination = Path(destination)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"{url}: only http and https addresses are downloaded")
    part = destination.with_name(f".{destination.name}.download")
    with exclusive(part, wait=False) as held:
        if not held:
            raise UserError(f"{destination}: another process is downloading it; wait for it and run again")
        return _Download(url, destination, part, sha256, size, max_bytes or MAX_BYTES, patience or Patience()).run()


class _Download:
    def __init__(self, url: str, destination: Path, part: Path, sha256: str | None, size: int | None, most: int,
                 patience: Patience):  # fmt: skip
        self.url, self.destination, self.part = url, destination, part
        self.note = part.with_name(f"{part.name}.json")
        self.sha256, self.size, self.most, self.patience = sha256, size, size or most, patience
        self.opener = client(_allow)
        self.before = self.restarts = 0

    def run(self) -> str:
        """Repeat attempts until the file is complete, then verify and rename it."""
        digest = keep_trying(self._complete, self.patience, self.url, self._remedy, progressed=self._progressed)
        os.replace(self.part, self.destination)
        self.note.unlink(missing_ok=True)
        log.info("%s: %s, SHA-256 %s", self.destination, bytes_in_words(self.destination.stat().st_size), digest)
        return digest

    def _complete(self) -> str:
        """Make one attempt, from the beginning if needed; returns the hash of the complete file."""
        while True:
            self.before = self._present()
            try:
                self._attempt()
                return self._verified(resumed=self.before > 0)
            except _Restart as reason:
                self._discard()
                self.restarts += 1
                if self.restarts >= self.patience.attempts:
                    raise UserError(f"{self.url}: {reason}, several times; download it by hand") from reason
                log.info("%s: %s; starting from the beginning", self.destination.name, reason)

    def _progressed(self) -> bool:
        return self._present() - self.before >= _UNIT

    def _remedy(self) -> str:
        kept = self._present()
        goes_on = f"; the download continues from {bytes_in_words(kept)}" if kept else ""
        return f"check the connection and run again{goes_on}"

    def _present(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def _kept(self) -> _Kept | None:
        """The note of a partial file that can be continued. A partial file without a note is useless."""
        try:
            kept = _Kept(**json.loads(self.note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            kept = None
        if kept is None or kept.url != self.url or not (kept.validator or self.sha256):
            self._discard()
            return None
        return kept

    def _attempt(self) -> None:
        """One request, from where the partial file ends."""
        kept = self._kept() if self._present() else None
        start = self._present()
        if kept and start and start == (self.size or kept.total):
            return
        headers = {"User-Agent": _AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if kept and start:
            headers["Range"] = f"bytes={start}-"
            if kept.validator:
                headers["If-Range"] = kept.validator
        request = urllib.request.Request(self.url, headers=headers)
        with answer(self.opener, request, self.patience.timeout, lambda error: self._refused(error, start)) as reply:
            self._receive(reply, kept, start)

    def _refused(self, error: urllib.error.HTTPError, start: int) -> NoReturn:
        """Turn an HTTP error into what to do about it."""
        if error.code == 416 and start:
            raise _Restart("the server's file is shorter than the kept part") from error
        retry_where_passing(error, f" {error.reason}")
        meaning = {
            301: "its redirects do not lead to a file",
            302: "its redirects do not lead to a file",
            401: "it asks for a login; download it by hand",
            403: "it refuses the download; open the page by hand, its terms may have to be accepted",
            404: "the file is no longer there; see the asset's page for a new address",
            407: "the proxy asks for a login; set http_proxy and https_proxy",
            410: "the file was withdrawn; see the asset's page",
        }.get(error.code, "download it by hand, or try later")
        raise UserError(f"{self.url}: the server answers {error.code} {error.reason}: {meaning}") from error

    def _receive(self, reply: Any, kept: _Kept | None, start: int) -> None:
        """Read one answer to its end into the partial file."""
        if reply.status not in (200, 206):
            raise Retry(f"the server answers {reply.status} {reply.reason}")
        length = _number(reply.headers.get("Content-Length"))
        if reply.status == 206:
            total = self._continues(reply, kept, start)
        else:
            start, total = 0, length
            if reply.headers.get_content_type() == "text/html" and not self.destination.suffix.startswith(".htm"):
                raise UserError(f"{self.url}: a web page came instead of the file; open the address in a browser, it may "
                                "ask for something first")  # fmt: skip
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise UserError(
                f"{self.url}: the server sends compressed data, although it was not asked to; download it by hand"
            )
        if total is not None and self.size is not None and total != self.size:
            raise UserError(
                f"{self.url}: the server's file has {total} bytes, the registry says {self.size}; it was replaced"
            )
        total = self.size or total
        if total is None and not self.sha256:
            raise UserError(f"{self.url}: the server does not say how long the file is, and its hash is not known, so a "
                            "cut connection would go unnoticed; download it by hand")  # fmt: skip
        if (total or 0) > self.most:
            raise self._too_large(total or 0)
        self._check_space((total or 0) - start)
        named = _Kept(self.url, reply.headers.get("ETag"), reply.headers.get("Last-Modified"), total)
        units = -(-((total or start) - start) // _UNIT)
        label = self.destination.name + (f" from {start // _UNIT}" if start else "")
        with self._writing():
            if reply.status == 200:
                self._discard()
            write_json(self.note, asdict(named))
            file = open(self.part, "ab", opener=open_own)
        with file:
            for _ in progress(self._blocks(reply, file, start), max(units, 1), label, unit="MiB"):
                pass
        got = self._present()
        if total is not None and got < total:
            raise Retry(f"the connection was cut at {bytes_in_words(got)} of {bytes_in_words(total)}")

    def _continues(self, reply: Any, kept: _Kept | None, start: int) -> int | None:
        """The total size in an answer 206; raises _Restart if the answer does not continue the kept part."""
        matched = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range", "").strip())
        if kept is None or not matched or int(matched[1]) != start:
            raise _Restart("the server sent another part than requested")
        total = _number(matched[2])
        if kept.total is not None and total is not None and kept.total != total:
            raise _Restart("the file now has another size")
        tag = reply.headers.get("ETag")
        if kept.etag and tag and kept.etag != tag:
            raise _Restart("the file is now another version")
        return total if total is not None else kept.total

    def _blocks(self, reply: Any, file: IO[bytes], written: int) -> Iterator[None]:
        """Copy the answer's body, yielding once per MiB; after a failure, the received part is in the file."""
        pending = 0
        for block in blocks(reply, self.most - written, lambda: self._too_large(self.most)):
            with self._writing():
                file.write(block)
                file.flush()
            pending += len(block)
            if pending >= _UNIT:
                pending -= _UNIT
                yield
        if pending:
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Separates errors of the disk from those of the network."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._no_space() from error
            raise UserError(f"cannot write {self.part}: {error.strerror or error}") from error

    def _verified(self, resumed: bool) -> str:
        """SHA-256 of the complete partial file, flushed to disk; UserError if it is not the expected one."""
        digest = hashlib.sha256()
        with open(self.part, "r+b", opener=open_own) as file:
            while block := file.read(_UNIT):
                digest.update(block)
            os.fsync(file.fileno())
        found = digest.hexdigest()
        if not found.startswith(self.sha256 or ""):
            if resumed:
                raise _Restart("the continued file has a wrong hash")
            self._discard()
            raise WrongHash(
                f"{self.url}: the downloaded file has the SHA-256 {found} instead of {self.sha256}, so it was deleted. The "
                "file was replaced there or changed on the way: see the asset's page before you trust another one"
            )
        if self._present() == 0:
            self._discard()
            raise UserError(f"{self.url}: the file is empty; download it by hand")
        return found

    def _check_space(self, needed: int) -> None:
        if needed > shutil.disk_usage(self.part.parent).free:
            raise self._no_space(needed)

    def _no_space(self, needed: int | None = None) -> UserError:
        wanted = f"; {bytes_in_words(needed)} more are needed" if needed else ""
        return UserError(f"cannot write {self.destination}: no space left on the disk{wanted}; make room and run again; the "
                         "downloaded part is kept")  # fmt: skip

    def _too_large(self, found: int) -> UserError:
        self._discard()
        return UserError(f"{self.url}: it has {bytes_in_words(found)} or more, but at most {bytes_in_words(self.most)} were "
                         "expected; nothing was kept")  # fmt: skip


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def fetch_asset(destination: str | os.PathLike, recipe: dict[str, Any], patience: Patience | None = None) -> None:
    """Download one file of an asset and record its hash.

    ``recipe`` is made by :func:`recipe_of`. If no hash is published, the file must have the hash of its first use.
    Raises UserError as :func:`download` does.
    """
    log.info("%s: %s, licence %s", destination, recipe["title"], recipe["licence"])
    lock = Lock(recipe["lock"])
    first = lock.entry(destination)
    published = recipe["sha256"]
    log.info(
        "from %s%s",
        recipe["url"],
        "" if published else "; no published hash is known, that of this download is recorded",
    )
    expected = published or (first.sha256 if first else None)
    try:
        digest = download(recipe["url"], destination, sha256=expected, size=recipe["bytes"], max_bytes=recipe["max_bytes"],
                          patience=patience)  # fmt: skip
    except WrongHash as error:
        if first and not published:
            raise UserError(f"{error}. That hash was recorded on {first.recorded}; to take the new file: python -m evenface "
                            f"assets accept {destination}, and run again") from error  # fmt: skip
        raise
    lock.record(destination, digest)


def recipe_of(registry: Any, path: str) -> dict[str, Any]:
    """Everything that decides the download of the registry's file at ``path``, as plain values for a rule's params."""
    asset, file = registry.fetched("download_asset")[path]
    return {
        "title": asset.title,
        "licence": asset.licence,
        "url": file.url,
        "sha256": file.sha256,
        "bytes": file.bytes,
        "max_bytes": file.max_bytes,
        "lock": str(registry.lock_path),
    }
