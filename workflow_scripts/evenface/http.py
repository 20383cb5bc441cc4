"""HTTP for downloads and for the endpoint of a language model. Messages never show headers, which may hold a key."""

from __future__ import annotations

import http.client
import logging
import ssl
import time
import urllib.request as web
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError

from evenface.errors import UserError

log = logging.getLogger("evenface")

_BLOCK = 1 << 16
_PASSING = (408, 409, 425, 429, 500, 502, 503, 504, 529)


@dataclass(frozen=True)
class Patience:
    """How long to keep trying.

    ``timeout``: seconds without a byte before a connection counts as dead. ``attempts``: failures in a row, without
    progress between them. ``pause``: seconds before the second attempt; it doubles each time, up to ``longest_pause``,
    which also bounds the pause that a server asks for (Retry-After).
    """

    timeout: float = 60.0
    attempts: int = 6
    pause: float = 2.0
    longest_pause: float = 120.0


class Retry(Exception):
    """A failure after which trying again may help; ``after`` is the pause that the server asks for, in seconds."""

    def __init__(self, reason: str, after: float = 0.0):
        super().__init__(reason)
        self.after = after


class _Redirects(web.HTTPRedirectHandler):
    max_redirections, max_repeats = 5, 2

    def __init__(self, allow: Callable[[str, str], None]):
        self._allow = allow

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """The request to follow with; UserError where it must not be followed."""
        self._allow(req.full_url, newurl)
        if len(getattr(req, "redirect_dict", ())) >= self.max_redirections:
            raise UserError(f"{req.full_url}: more than {self.max_redirections} redirects; the address no longer works")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def client(allow: Callable[[str, str], None], *, proxies: bool = True) -> web.OpenerDirector:
    """A client for http and https only, with the environment's ``proxies`` or none.

    It follows at most five redirects, each only if ``allow(from, to)`` does not raise UserError.
    """
    opener = web.OpenerDirector()
    kinds = (web.HTTPHandler, web.HTTPSHandler, web.HTTPDefaultErrorHandler, web.HTTPErrorProcessor)
    for handler in (web.ProxyHandler(None if proxies else {}), _Redirects(allow), *(kind() for kind in kinds)):
        opener.add_handler(handler)
    return opener


@contextmanager
def answer(
    opener: web.OpenerDirector, request: web.Request, timeout: float, refused: Callable[[HTTPError], NoReturn]
) -> Iterator[Any]:
    """The open answer to a request, to be read in the block; ``refused`` raises the error for a status.

    Raises Retry if the connection fails, also in the block, and UserError for an invalid certificate.
    """
    try:
        with opener.open(request, timeout=timeout) as reply:
            yield reply
    except HTTPError as error:
        with error:
            refused(error)
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise UserError(f"{request.full_url}: the server's certificate is not valid ({reason})") from None
        if isinstance(reason, TimeoutError):
            raise Retry(f"no answer within {timeout:g} s") from None
        kind = "no connection" if isinstance(error, URLError) else "the connection failed"
        raise Retry(f"{kind} ({reason or type(reason).__name__})") from None


def retry_where_passing(error: HTTPError, says: str) -> None:
    """Raise Retry for a temporary status, with the pause that the server asks for; ``says`` ends the sentence."""
    if error.code in _PASSING:
        after = error.headers.get("Retry-After", "")
        raise Retry(f"the server answers {error.code}{says}", float(after) if after.isdigit() else 0.0) from None


def blocks(
    reply: Any, most: int, too_large: Callable[[], UserError], deadline: float = float("inf")
) -> Iterator[bytes]:
    """The blocks of an answer's body, which may be cut; ``too_large()`` is raised above ``most`` bytes.

    TimeoutError after ``deadline``, a time of ``time.monotonic``.
    """
    while block := reply.read1(_BLOCK):
        most -= len(block)
        if most < 0:
            raise too_large()
        yield block
        if time.monotonic() > deadline:
            raise TimeoutError


def keep_trying(
    attempt: Callable[[], Any], patience: Patience, url: str, remedy: Callable[[], str], *,
    progressed: Callable[[], bool] = lambda: False, sleep: Callable[[float], None] | None = None,
) -> Any:  # fmt: skip
    """The result of ``attempt``, which is called again after every Retry.

    UserError, with ``remedy``, after ``patience.attempts`` failures in a row; an attempt that ``progressed`` starts a
    new count.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except Retry as reason:
            failures = 1 if progressed() else failures + 1
            if failures >= patience.attempts:
                raise UserError(f"{url}: {reason}, after {failures} attempts; {remedy()}") from None
            pause = min(max(patience.pause * 2 ** (failures - 1), reason.after), patience.longest_pause)
            log.info("%s: %s; attempt %d in %.0f s", url, reason, failures + 1, pause)
            (time.sleep if sleep is None else sleep)(pause)
