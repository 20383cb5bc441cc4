"""A local web server that misbehaves on request: it cuts connections, ignores ranges, lies, redirects, or is slow."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """The answers of a path.

    ``cuts``: after how many bytes of the body each of the first answers is cut. ``errors``: status codes
    of the first answers. ``silent``: seconds a cut connection stays open. ``wrong_range``: parts begin a byte
    early. ``unconditional``: If-Range is ignored. ``on_request`` is called with the page before each answer.
    """

    body: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    length: bool = True
    kind: str = "application/octet-stream"
    cuts: list[int] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    silent: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    redirect: str | None = None
    wrong_range: bool = False
    unconditional: bool = False
    on_request: Any = None


class Web:
    """Pages by path, and the requests that came: (path, headers)."""

    def __init__(self, address: str):
        self.address = address
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()

    def url(self, path: str) -> str:
        return f"{self.address}{path}"

    def put(self, path: str, body: bytes, **options: Any) -> str:
        self.pages[path] = Page(body, **options)
        return self.url(path)

    def ranges(self) -> list[str | None]:
        """The Range header of every request."""
        return [headers.get("range") for _, headers in self.requests]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Web

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        path = re.sub(r"^http://[^/]+", "", self.path)  # as a proxy is asked
        self.site.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        page = self.site.pages.get(path)
        if page is None:
            return self.send_error(404)
        if page.on_request:
            page.on_request(page)
        if page.errors:
            self.send_response(page.errors.pop(0))
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if page.redirect:
            self.send_response(302)
            self.send_header("Location", page.redirect)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.answer(page)

    def answer(self, page: Page):
        body, start = page.body, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if asked and page.ranges and (page.unconditional or condition in (None, page.etag)):
            start = int(asked[1]) - (1 if page.wrong_range else 0)
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        rest = body[start:]
        self.send_header("Content-Type", page.kind)
        if page.etag:
            self.send_header("ETag", page.etag)
        if page.length:
            self.send_header("Content-Length", str(len(rest)))
        else:
            self.send_header("Connection", "close")
        for name, value in page.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        if page.cuts:
            self.wfile.write(rest[: page.cuts.pop(0)])
            self.wfile.flush()
            if page.silent:
                self.site.over.wait(page.silent)
            return None
        self.wfile.write(rest)


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], site: Callable[[str], Any]) -> Iterator[Any]:
    """A server on a free port of this machine while the block runs; ``handler.site`` is ``site(address)``."""
    handler = type("Handler", (handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.site = site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield handler.site
    finally:
        handler.site.over.set()
        server.shutdown()
        server.server_close()


def serve() -> AbstractContextManager[Web]:
    """Pages as they are put there."""
    return served(_Handler, Web)
