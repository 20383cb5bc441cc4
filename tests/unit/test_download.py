"""Downloads against a local server that cuts, lies, stalls and redirects."""

import hashlib
import json
import os
import random
import shutil
import threading
import time
import urllib.request
from collections import namedtuple

import pytest

from evenface.assets import download as module
from evenface.assets.download import WrongHash, download, fetch_asset
from evenface.assets.lock import Lock
from evenface.errors import UserError
from evenface.http import Patience, _Redirects
from web import serve

BODY = random.Random(1).randbytes(3_500_000)
HASH = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(timeout=0.5, attempts=3, pause=0.01, longest_pause=0.02)


pytestmark = pytest.mark.usefixtures("no_proxy")


@pytest.fixture
def web():
    with serve() as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "models" / "file.bin"


def left(target):
    """The files in the folder of the destination."""
    return sorted(path.name for path in target.parent.iterdir()) if target.parent.exists() else []


def get(url, target, **options):
    return download(url, target, patience=options.pop("patience", QUICK), **options)


def test_a_file_comes_whole_and_alone(web, target):
    assert get(web.put("/f", BODY), target, sha256=HASH, size=len(BODY)) == HASH
    assert target.read_bytes() == BODY and left(target) == ["file.bin"]
    assert web.requests[0][1]["accept-encoding"] == "identity"


def test_a_cut_connection_is_continued_where_it_stopped(web, target):
    url = web.put("/f", BODY, cuts=[2_000_000, 100])
    assert get(url, target, sha256=HASH) == HASH and target.read_bytes() == BODY
    assert web.ranges() == [None, "bytes=2000000-", "bytes=2000100-"]
    assert [headers.get("if-range") for _, headers in web.requests] == [None, '"one"', '"one"']


def test_a_silent_connection_counts_as_cut(web, target):
    url = web.put("/f", BODY, cuts=[1_500_000], silent=5)
    assert get(url, target) == HASH
    assert web.ranges() == [None, "bytes=1500000-"]


def test_the_next_process_continues_what_a_killed_one_left(web, target):
    url = web.put("/f", BODY, cuts=[100_000] * 3)
    with pytest.raises(
        UserError, match=r"the connection was cut at 300 kB of 3.5 MB, after 3 attempts.*continues from 300 kB"
    ):
        get(url, target)
    assert not target.exists() and left(target) == [".file.bin.download", ".file.bin.download.json"]
    assert get(url, target) == HASH
    assert web.ranges()[-1] == "bytes=300000-" and left(target) == ["file.bin"]


def test_a_complete_partial_file_is_not_asked_for_again(web, target):
    url = web.put("/f", BODY)
    target.parent.mkdir()
    part = target.with_name(".file.bin.download")
    part.write_bytes(BODY)
    note = {"url": url, "etag": '"one"', "total": len(BODY)}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    assert get(url, target) == HASH and web.requests == [] and left(target) == ["file.bin"]


def test_a_server_without_ranges_is_read_from_the_beginning(web, target):
    url = web.put("/f", BODY, ranges=False, cuts=[2_000_000])
    assert get(url, target, sha256=HASH) == HASH
    assert web.ranges() == [None, "bytes=2000000-"] and target.read_bytes() == BODY


def test_a_server_without_ranges_that_always_cuts_is_given_up(web, target):
    url = web.put("/f", BODY, ranges=False, cuts=[2_000_000] * 50)
    with pytest.raises(UserError, match="after 3 attempts"):
        get(url, target)
    assert len(web.requests) <= 4


def test_a_file_that_changes_meanwhile_is_not_stitched_together(web, target):
    other = bytes(reversed(BODY))

    def change(page):
        if len(web.requests) == 2:
            page.body, page.etag = other, '"two"'

    url = web.put("/f", BODY, cuts=[2_000_000], on_request=change)
    assert get(url, target) == hashlib.sha256(other).hexdigest()
    assert target.read_bytes() == other


@pytest.mark.parametrize(("body", "etag"), [(BODY[::-1], '"two"'), (BODY[::-1] + b"longer", '"one"')])
def test_a_server_that_ignores_if_range_is_noticed_by_tag_or_size(web, target, body, etag):
    def change(page):
        if len(web.requests) == 2:
            page.body, page.etag = body, etag

    url = web.put("/f", BODY, cuts=[2_000_000], unconditional=True, on_request=change)
    assert get(url, target) == hashlib.sha256(body).hexdigest()
    assert web.ranges() == [None, "bytes=2000000-", None]


def test_without_validator_only_a_known_hash_is_continued(web, target):
    url = web.put("/f", BODY, etag=None, cuts=[2_000_000])
    assert get(url, target) == HASH
    assert web.ranges() == [None, None]
    target.unlink()
    web.requests.clear()
    web.pages["/f"].cuts = [2_000_000]
    assert get(url, target, sha256=HASH) == HASH
    assert web.ranges() == [None, "bytes=2000000-"]


def test_a_stale_part_that_spoils_the_hash_is_replaced_once(web, target):
    url = web.put("/f", BODY, etag=None)
    target.parent.mkdir()
    part = target.with_name(".file.bin.download")
    part.write_bytes(b"x" * 1000)
    part.with_name(part.name + ".json").write_text(f'{{"url": "{url}", "total": {len(BODY)}}}')
    assert get(url, target, sha256=HASH) == HASH
    assert web.ranges() == ["bytes=1000-", None]


def test_an_answer_for_another_part_is_not_used(web, target):
    url = web.put("/f", BODY, cuts=[2_000_000], wrong_range=True)
    assert get(url, target) == HASH
    assert web.ranges() == [None, "bytes=2000000-", None]


def test_a_part_of_another_address_is_not_continued(web, target):
    with pytest.raises(UserError):
        get(web.put("/old", b"old" * 400_000, cuts=[1000] * 3), target)
    assert get(web.put("/f", BODY), target) == HASH
    assert web.ranges()[3:] == [None]


def test_failures_with_progress_between_them_do_not_add_up(web, target):
    url = web.put("/f", BODY, cuts=[1_100_000] * 3)
    assert get(url, target, patience=Patience(timeout=0.5, attempts=2, pause=0.01)) == HASH


@pytest.mark.parametrize("expected", ["0" * 64, "0" * 12])
def test_a_wrong_hash_leaves_nothing(web, target, expected):
    with pytest.raises(WrongHash, match=f"SHA-256 {HASH} instead of {expected}, so it was deleted"):
        get(web.put("/f", BODY), target, sha256=expected)
    assert left(target) == []


def test_a_wrong_hash_does_not_touch_what_was_there(web, target):
    target.parent.mkdir()
    target.write_text("the old one")
    with pytest.raises(WrongHash):
        get(web.put("/f", BODY), target, sha256="0" * 64)
    assert target.read_text() == "the old one"


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "404 Not Found: the file is no longer there"), (403, "its terms may have to be accepted"), (401, "a login"),
     (410, "withdrawn"), (418, "418 .*download it by hand")],
)  # fmt: skip
def test_a_refusal_is_final_and_explained(web, target, status, message):
    url = web.put("/f", BODY, errors=[status] * 9)
    with pytest.raises(UserError, match=f"{url}: the server answers {message}" if status == 404 else message):
        get(url, target)
    assert len(web.requests) == 1 and left(target) == []


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_passing_failure_is_tried_again(web, target, status):
    url = web.put("/f", BODY, errors=[status, status], headers={"Retry-After": "1"})
    assert get(url, target) == HASH and len(web.requests) == 3


def test_waits_grow_and_honour_the_server_within_bounds(web, target, monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    url = web.put("/f", BODY, errors=[503] * 4)
    get(url, target, patience=Patience(attempts=9, pause=1, longest_pause=6))
    assert pauses == [1, 2, 4, 6]
    target.unlink()
    pauses.clear()
    web.put("/f", BODY, errors=[503, 503], headers={"Retry-After": "5"})
    get(url, target, patience=Patience(attempts=9, pause=1, longest_pause=6))
    assert pauses == [5, 5]


def test_no_server_at_all(target):
    with pytest.raises(UserError, match=r"no connection .*after 3 attempts; check the connection"):
        get("http://127.0.0.1:9/f", target)


def test_more_than_expected_is_refused_at_once_or_as_it_comes(web, target):
    with pytest.raises(UserError, match=r"it has 3.5 MB or more, but at most 1.0 MB were expected; nothing was kept"):
        get(web.put("/f", BODY), target, max_bytes=1_000_000)
    with pytest.raises(UserError, match=r"at most 1.0 MB"):
        get(web.put("/endless", BODY, length=False), target, max_bytes=1_000_000, sha256=HASH)
    assert left(target) == []
    with pytest.raises(UserError, match="the server's file has 3500000 bytes, the registry says 3500001"):
        get(web.put("/f", BODY), target, size=3_500_001)


def test_unknown_length_needs_a_hash(web, target):
    url = web.put("/f", BODY, length=False, etag=None)
    with pytest.raises(UserError, match="does not say how long the file is, and its hash"):
        get(url, target)
    assert get(url, target, sha256=HASH) == HASH


def test_a_web_page_is_not_taken_for_a_file(web, target):
    with pytest.raises(UserError, match="a web page came instead of the file"):
        get(web.put("/f", b"<html>log in</html>", kind="text/html; charset=utf-8"), target)
    assert left(target) == []


def test_an_empty_file_is_refused(web, target):
    with pytest.raises(UserError, match="empty"):
        get(web.put("/f", b""), target)
    assert left(target) == []


def test_redirects_are_followed_and_counted(web, target):
    web.put("/f", BODY)
    web.put("/b", b"", redirect=web.url("/f"))
    assert get(web.put("/a", b"", redirect=web.url("/b")), target) == HASH
    for i in range(9):
        web.put(f"/r{i}", b"", redirect=web.url(f"/r{i + 1}"))
    with pytest.raises(UserError, match=r"redirects"):
        get(web.url("/r0"), target)
    with pytest.raises(UserError, match=r"redirects"):
        get(web.put("/loop", b"", redirect=web.url("/loop")), target)


def test_a_cut_after_a_redirect_is_continued(web, target):
    web.put("/f", BODY, cuts=[2_000_000])
    assert get(web.put("/a", b"", redirect=web.url("/f")), target) == HASH
    assert web.ranges()[-1] == "bytes=2000000-"


def test_a_redirect_away_from_https_or_to_a_file_is_refused(tmp_path, web, target):
    handler = _Redirects(module._allow)
    request = urllib.request.Request("https://example.org/f")
    for bad in ("http://example.org/f", "ftp://example.org/f"):
        with pytest.raises(UserError, match=f"refused to follow a redirect to {bad}"):
            handler.redirect_request(request, None, 302, "Found", {}, bad)
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://cdn.example.org/f").full_url.startswith(
        "https"
    )
    with pytest.raises(UserError):
        get(web.put("/a", b"", redirect=f"file://{tmp_path}/x"), target)
    with pytest.raises(UserError, match="only http and https"):
        get(f"file://{tmp_path}/x", target)


def test_the_proxy_of_the_environment_is_used(web, target, monkeypatch):
    monkeypatch.setenv("http_proxy", web.address)
    web.put("/f", BODY)
    assert get("http://nowhere.invalid/f", target) == HASH
    assert web.requests[0][0] == "http://nowhere.invalid/f"
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    with pytest.raises(UserError, match="no connection"):
        get("http://nowhere.invalid/f", target)


def test_a_full_disk_is_said_before_and_while_it_fills(web, target, monkeypatch):
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10, 10))
        with pytest.raises(UserError, match=r"no space left on the disk; 3.5 MB more are needed"):
            get(web.put("/f", BODY), target)
    (target.parent).mkdir(exist_ok=True)

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, block):
            if self.file.tell() > 1_000_000:
                raise OSError(28, "No space left on device")
            return self.file.write(block)

        def flush(self):
            self.file.flush()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    with monkeypatch.context() as patch:
        patch.setattr(
            module, "open", lambda *a, **k: Full(open(*a, **k)) if a[1] == "ab" else open(*a, **k), raising=False
        )
        with pytest.raises(
            UserError, match=r"no space left on the disk; make room and run again; the downloaded part is kept"
        ):
            get(web.put("/f", BODY), target)
    assert get(web.url("/f"), target) == HASH
    assert web.ranges()[-1].startswith("bytes=1")


def test_a_folder_that_cannot_be_written_is_named(web, tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write to .*models"):
        get(web.put("/f", BODY), tmp_path / "models" / "file.bin")


def test_two_processes_do_not_write_the_same_file(web, target):
    url = web.put("/f", BODY, cuts=[2_000_000], silent=5)
    first = threading.Thread(target=get, args=(url, target), kwargs={"patience": Patience(timeout=1.5, pause=0.01)})
    first.start()
    while not web.requests:
        pass
    with pytest.raises(UserError, match="another process is downloading it"):
        get(url, target)
    first.join()
    assert target.read_bytes() == BODY and left(target) == ["file.bin"]


def recipe(tmp_path, url, **more):
    return {"title": "A file", "licence": "MIT", "url": url, "sha256": None, "bytes": None, "max_bytes": None,
            "lock": str(tmp_path / "registry.lock"), **more}  # fmt: skip


def test_the_first_download_is_recorded_and_later_ones_compared(web, tmp_path, target, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = recipe(tmp_path, web.put("/f", BODY))
    fetch_asset("models/file.bin", given, QUICK)
    assert Lock(tmp_path / "registry.lock").unchanged("models/file.bin").sha256 == HASH
    os.remove("models/file.bin")
    web.put("/f", BODY[1:], etag='"two"')
    with pytest.raises(UserError, match=r"assets accept models/file.bin, and run again"):
        fetch_asset("models/file.bin", given, QUICK)
    assert not target.exists()
    Lock(tmp_path / "registry.lock").forget("models/file.bin")
    fetch_asset("models/file.bin", given, QUICK)
    assert target.read_bytes() == BODY[1:]
