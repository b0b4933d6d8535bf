"""Verifiers are asked as anyone asks them, judged by what they serve, and none keeps another waiting."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from joserfc.jwk import ECKey

from tests.servers.faults import InTurn, drip, endless, reset, silent
from tests.stub import Answering, Stub, answer, serving
from tokenctl.errors import InvalidRequest, TemporarilyUnavailable
from tokenctl.http import documents, transport
from tokenctl.workflows.canary import Gone, Seen, ask_all, check_verifier, watch_gone

NOW = 1_764_000_000_000
KID = "0352Ldy4SKzRSvwVvSWvL6"


def made(kid: str = KID) -> dict[str, object]:
    """Return the public JWK of a new key, made by another library."""
    return {**ECKey.generate_key("P-256", private=False).as_dict(private=False), "kid": kid, "use": "sig", "alg": "ES256"}


KEY = made()


def document(value: object, *headers: str, status: str = "200 OK") -> bytes:
    return answer(json.dumps(value).encode(), *headers, status=status)


def asked(answering: bytes | Answering, *, seconds: float = 5) -> Seen:
    with serving(answering) as stub:
        (seen,) = ask_all([stub.url()], KEY, seconds=seconds, now=NOW)
        assert seen.verifier == stub.url()
    assert NOW <= seen.asked_at <= NOW + seconds * 1000 + 500
    return seen


@pytest.mark.parametrize(
    ("value", "holds", "detail"),
    [
        ({"keys": [KEY]}, True, "has the key"),
        ({"keys": [made("other"), {**KEY, "x5c": ["?"]}, {"kty": "future"}, {}]}, True, "has the key"),
        ({name: KEY[name] for name in ("kty", "crv", "x", "y")} and {"keys": [{**KEY, "alg": "EC-1"}]}, True, "has the key"),
        ({"kids": ["other", KID]}, True, "has the key"),
        ({"keys": []}, False, "does not have the key"),
        ({"keys": [made("other")]}, False, "does not have the key"),
        ({"keys": [{name: value for name, value in KEY.items() if name != "kid"}]}, False, "does not have the key"),
        ({"keys": [{**KEY, "kid": [KID]}]}, False, "does not have the key"),
        ({"kids": ["other"]}, False, "does not have the key"),
        ({"keys": [made()]}, False, "has another key of this kid"),
        ({"keys": [{"kid": KID, "kty": "oct", "k": "AAAA"}]}, False, "has another key of this kid"),
        ({"keys": [{"kid": KID, "kty": "EC", "crv": "P-256"}]}, False, "has a key of this kid that cannot be read"),
        ({"keys": [{"kid": KID, "kty": 7}]}, False, "has a key of this kid that cannot be read"),
        ({"keys": [KEY, KEY]}, False, "has two keys of one kid"),
        ({"keys": [KEY, made()]}, False, "has two keys of one kid"),
        ({"kids": [KID, KID]}, False, "has two keys of one kid"),
        ({"keys": [KEY], "kids": [KID]}, None, "its answer is no JWK Set and no list of kids"),
        ({"ok": True}, None, "its answer is no JWK Set and no list of kids"),
        (KEY, None, "its answer is no JWK Set and no list of kids"),
        ({"keys": {"0": KEY}}, None, "its keys is no list of objects"),
        ({"keys": [KEY, "x"]}, None, "its keys is no list of objects"),
        ({"kids": KID}, None, "its kids is no list of strings"),
        ({"kids": [KID, 7]}, None, "its kids is no list of strings"),
        ({"kids": [str(number) for number in range(101)]}, None, "it has more than 100 keys"),
        ([KEY], None, "its answer is no JSON object"),
    ],
)  # fmt: skip
def test_the_same_kid_and_the_same_key_count(value: object, holds: bool | None, detail: str) -> None:
    seen = asked(document(value))
    assert (seen.holds, seen.detail, seen.cached_until) == (holds, detail, None)


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UNREADABLE = "sent an answer that cannot be read"
GZIP = "Content-Encoding: gzip"
TOO_MUCH = "sent more than 256 KiB"
LATE = "did not answer in time"
SERVED = json.dumps({"keys": [KEY]}).encode()
DEEP = b'{"keys": ' + b"[" * 40 + b"]" * 40 + b"}"


@pytest.mark.parametrize(
    ("answering", "detail"),
    [
        pytest.param(answer(b"<html>\x1b[31mno"), "its answer is not JSON", id="html"),
        pytest.param(answer(b""), "its answer is not JSON", id="empty"),
        pytest.param(answer(b"\xff\xfe"), "its answer is not UTF-8", id="not UTF-8"),
        pytest.param(answer(SERVED[:-2]), "its answer is not JSON", id="half"),
        pytest.param(answer(b'{"keys": [], "keys": [' + SERVED[10:-2] + b"]}"), "its answer holds a name twice", id="names"),
        pytest.param(answer(DEEP), "its answer nests deeper than 32", id="deep"),
        pytest.param(answer(b"[" * 200_000), "its answer nests deeper than 32", id="very deep"),
        pytest.param(answer(b" " * 262_143 + b"{}"), TOO_MUCH, id="one byte too many"),
        pytest.param(answer(gzip.compress(SERVED)[:-4], GZIP), UNREADABLE, id="half a gzip"),
        pytest.param(answer(SERVED, GZIP), UNREADABLE, id="no gzip"),
        pytest.param(answer(SERVED, "Content-Encoding: br"), UNREADABLE, id="not asked for"),
        pytest.param(endless(CHUNKED, b"4000\r\n" + b" " * 0x4000 + b"\r\n"), TOO_MUCH, id="endless"),
        pytest.param(endless(OK + b"X: ", b"x" * 65536), UNREADABLE, id="huge header"),
        pytest.param(OK + b"Content-Length: 9\r\n\r\n{}", UNREADABLE, id="cut"),
        pytest.param(CHUNKED + b"zz\r\n", UNREADABLE, id="bad chunk"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", UNREADABLE, id="no HTTP"),
        pytest.param(b"", UNREADABLE, id="nothing"),
        pytest.param(reset, "was not reached: no connection", id="reset"),
        pytest.param(answer(b"", status="204 No Content"), "answered 204 where a document was expected", id="204"),
        pytest.param(document({"keys": [KEY]}, status="206 Partial"), "answered 206 where a document was expected", id="206"),
        pytest.param(document({"keys": [KEY]}, status="404 x"), "answered 404 where a document was expected", id="404"),
        pytest.param(document({"keys": [KEY]}, status="503 x"), "answered 503", id="503"),
    ],
)  # fmt: skip
def test_a_broken_answer_is_told_in_words_of_ours(answering: bytes | Answering, detail: str) -> None:
    seen = asked(answering)
    assert (seen.holds, seen.detail) == (None, detail)


@pytest.mark.parametrize(
    "answering",
    [
        pytest.param(silent, id="silent"),
        pytest.param(drip(b"1\r\n \r\n", first=CHUNKED), id="dripping body"),
        pytest.param(drip(b"x", first=OK + b"X: "), id="dripping header"),
    ],
)
def test_the_slow_are_left_at_the_deadline(answering: Answering) -> None:
    begun = time.monotonic()
    with serving(answering) as stub:
        (seen,) = ask_all([stub.url()], KEY, seconds=0.4, now=NOW)
        took = time.monotonic() - begun
    assert (seen.holds, seen.detail) == (None, LATE)
    assert 0.35 < took < 3


def test_a_body_that_drips_ends_by_itself() -> None:
    """Without anyone who stops to wait for it: so no thread goes on for long."""
    begun = time.monotonic()
    with serving(drip(b"1\r\n \r\n", first=CHUNKED)) as stub:
        assert documents.get(transport.public_url(stub.url()), limit=1000, seconds=0.4) == transport.Fault(
            LATE, passing=True, hint="run again, or raise --timeout"
        )
    assert time.monotonic() - begun < 3


def test_a_bomb_is_not_unpacked() -> None:
    bomb = answer(gzip.compress(b" " * (1 << 28)), GZIP)
    tracemalloc.start()
    try:
        assert asked(bomb).detail == TOO_MUCH
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_nothing_that_blocks_outlasts_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    look_up = socket.getaddrinfo

    def black_hole(*arguments: Any, **named: Any) -> Any:  # what the C library does while no name server answers
        released.wait(10)
        return look_up(*arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", black_hole)
    begun = time.monotonic()
    (seen,) = ask_all(["http://localhost:9/"], KEY, seconds=0.3, now=NOW)
    with pytest.raises(TemporarilyUnavailable, match="http://localhost did not answer in time"):
        documents.fetch_public("http://localhost:9/", limit=1000, deadline=0.3)
    took = time.monotonic() - begun
    released.set()
    assert (seen.holds, seen.detail) == (None, LATE)
    assert took < 3


def test_one_that_hangs_takes_no_time_of_the_others() -> None:
    with ExitStack() as stack:
        hanging = [stack.enter_context(serving(silent)) for _ in range(5)]
        good = stack.enter_context(serving(answer(SERVED)))
        closed = socket.create_server(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        closed.close()
        urls = [*(stub.url() for stub in hanging), good.url(), nobody, good.url()]
        begun = time.monotonic()
        seen = ask_all(urls, KEY, seconds=0.8, now=NOW)
        took = time.monotonic() - begun
    assert took < 3  # 5 times 0.8 and more, were they asked in turn
    assert [each.verifier for each in seen] == urls[:-1]
    assert [(each.holds, each.detail) for each in seen] == [
        *[(None, LATE)] * 5, (True, "has the key"), (None, "was not reached: no connection"),
    ]  # fmt: skip
    assert len(good.heads) == 1


def test_a_redirect_is_not_followed() -> None:
    with serving(answer(SERVED)) as target:
        moved = answer(SERVED, f"Location: {target.url()}", status="302 Found")
        seen = asked(moved)
    assert (seen.holds, seen.detail) == (None, "answered 302: redirects are not followed")
    assert target.heads == []


def test_a_compressed_answer_is_read() -> None:
    assert asked(answer(gzip.compress(SERVED), GZIP)).holds is True


def test_the_request_carries_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://me:s3cret@127.0.0.1:1/")
    with serving(document({"keys": [KEY]}, "Set-Cookie: a=b")) as stub:
        for _ in range(2):
            assert ask_all([stub.url("/a/jwks?tenant=7")], KEY, seconds=5, now=NOW)[0].holds
    expected = (
        f"GET /a/jwks?tenant=7 HTTP/1.1\r\nHost: {stub.url().split('/')[2]}\r\nAccept: application/json, */*;q=0.8\r\n"
        "Accept-Encoding: gzip\r\nConnection: close\r\nUser-Agent: Mozilla/5.0\r\n\r\n"
    )
    assert [sorted(head.decode().split("\r\n")) for head in stub.heads] == [sorted(expected.split("\r\n"))] * 2


@pytest.mark.parametrize(
    ("headers", "fresh_for"),
    [
        ((), None),
        (("Cache-Control: max-age=60",), 60),
        (("Cache-Control: public, max-age=60", "Age: 45"), 15),
        (('Cache-Control: MAX-AGE="60"', "Age: nonsense"), 60),
        (("Cache-Control: public", "Cache-Control: max-age=60"), 60),
        (("Cache-Control: max-age=60", "Age: 3600"), 0),
        (("Cache-Control: s-maxage=60",), None),
        (("Cache-Control: x-max-age=60",), None),
        (("Cache-Control: max-age=99999999999999999999",), None),
        (("Cache-Control: max-age=-1",), None),
        (("Cache-Control: no-store",), None),
    ],
)
def test_how_long_a_cache_may_hold_an_answer_is_told(headers: tuple[str, ...], fresh_for: int | None) -> None:
    seen = asked(document({"keys": []}, *headers))
    if fresh_for is None:
        assert seen.cached_until is None
    else:
        assert seen.cached_until is not None
        assert NOW + fresh_for * 1000 <= seen.cached_until < NOW + fresh_for * 1000 + 5000


BAD_URLS = [
    "", "x", "/jwks.json", "jwks.json", "ftp://127.0.0.1/x", "file:///etc/passwd", "http://example.org/jwks.json",
    "http://10.0.0.1/", "http://127.0.0.1.example.org/", "http://localhost.example.org/", "http://127.1/",
    "https://user@example.org/", "https://user:pass@example.org/", "https://@example.org/", "https://example.org/#x",
    "https://example.org/#", "https:///x", "https://", "https:example.org", "https://example.org:0/", "https://example.org:65536/",
    "https://example.org:x/", "https://exa mple.org/", "https://example.org/\n", "https://example.org/\x1b[31m", "https://exämple.org/",
    "https://example.org/" + "x" * 2048, "https://[::1/", "https://[fe80::1%25eth0/",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_may_not_be_asked_is_refused_before_anyone_is_asked(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_verifier(url)
    assert refused.value.exit_code == 2
    assert "\x1b" not in refused.value.message
    assert "pass" not in f"{refused.value.message}{refused.value.hint}"
    with serving(answer(SERVED)) as stub:
        with pytest.raises(InvalidRequest):
            ask_all([stub.url(), url], KEY, seconds=1, now=NOW)
        with pytest.raises(InvalidRequest):
            list(watch_gone([stub.url(), url], KID, seconds=1, now=NOW))
    assert stub.heads == []


@pytest.mark.parametrize(
    "url", ["https://example.org/jwks.json", "https://10.0.0.1:8443/?a=b@c", "http://127.0.0.1:1/", "http://localhost/", "http://[::1]/",
            "http://127.8.9.1/x"]
)  # fmt: skip
def test_a_url_that_may_be_asked_is_kept_as_it_was_typed(url: str) -> None:
    assert check_verifier(url) == url


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[trustme.CA]:
    """Yield an authority that this process trusts."""
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    transport.context.cache_clear()
    yield made
    transport.context.cache_clear()


def secured(authority: trustme.CA, name: str = "127.0.0.1", **validity: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    return context


DAYS = timedelta(days=1)


@pytest.mark.parametrize(
    ("prepare", "holds", "detail"),
    [
        (lambda trusted: secured(trusted), True, "has the key"),
        (lambda trusted: secured(trusted, "example.org"), None, "its certificate is for another address"),
        (
            lambda trusted: secured(trusted, not_before=datetime.now(UTC) - 9 * DAYS, not_after=datetime.now(UTC) - DAYS),
            None, "its certificate has expired",
        ),
        (
            lambda trusted: secured(trusted, not_before=datetime.now(UTC) + DAYS, not_after=datetime.now(UTC) + 9 * DAYS),
            None, "its certificate is not yet valid",
        ),
        (lambda _: secured(trustme.CA()), None, "its certificate is of no authority that this machine trusts"),
    ],
)  # fmt: skip
def test_a_refused_certificate_is_told_with_its_reason(
    authority: trustme.CA, prepare: Callable[[trustme.CA], ssl.SSLContext], holds: bool | None, detail: str
) -> None:
    with serving(answer(SERVED), prepare(authority)) as stub:
        (seen,) = ask_all([stub.url()], KEY, seconds=5, now=NOW)
    detail = detail if holds else f"was not reached: {detail}"
    assert (seen.holds, seen.detail) == (holds, detail)
    assert len(stub.heads) == (1 if holds else 0)


def test_a_server_without_tls_is_told(authority: trustme.CA) -> None:
    with serving(answer(SERVED)) as stub:
        (seen,) = ask_all([stub.url().replace("http:", "https:")], KEY, seconds=5, now=NOW)
    assert (seen.holds, seen.detail) == (None, "was not reached: no TLS connection")


WITH, WITHOUT = document({"keys": [KEY, made("other")]}), document({"keys": [made("other")]})


def test_each_verifier_is_watched_until_it_has_dropped_the_key() -> None:
    with ExitStack() as stack:
        at_once = stack.enter_context(serving(document({"kids": []})))
        later = stack.enter_context(serving(InTurn(WITH, document({}, status="503 x"), WITH, WITHOUT)))
        seen = list(watch_gone([later.url(), at_once.url()], KID, seconds=5, now=NOW))
    assert [(each.verifier, each.gone, each.detail) for each in seen] == [
        (at_once.url(), True, "no longer has the key"),
        (later.url(), True, "no longer has the key"),
    ]
    assert len(later.heads) == 4
    assert all(each.at == NOW + each.waited_ms or each.at == NOW + each.waited_ms - 1 for each in seen)
    assert 900 <= seen[1].waited_ms < 4500  # 0.2 + 0.3 + 0.45


@pytest.mark.parametrize(
    ("answering", "detail"),
    [
        (WITH, "still has the key"),
        (document({"keys": [made()]}), "still has the key"),
        (document({"keys": [KEY, KEY]}), "still has the key"),
        (document({"kids": [KID]}), "still has the key"),
        (document({}, status="404 x"), "answered 404 where a document was expected"),
        (answer(b"gone"), "its answer is not JSON"),
        (InTurn(WITH, WITH, b""), UNREADABLE),
        (silent, LATE),
        (drip(b"x", first=OK + b"X: "), LATE),
    ],
)
def test_only_an_answer_without_the_key_proves_that_it_is_gone(answering: bytes | Answering, detail: str) -> None:
    begun = time.monotonic()
    with serving(answering) as stub:
        (seen,) = watch_gone([stub.url()], KID, seconds=0.8, now=NOW)
        took = time.monotonic() - begun
    assert seen == Gone(stub.url(), False, detail, None, seen.waited_ms)
    assert 690 <= seen.waited_ms < 3000
    assert took < 4


def test_the_one_that_hangs_comes_last_and_is_told_what_it_said_before() -> None:
    first = threading.Event()

    def has_then_hangs(connection: socket.socket) -> None:
        if first.is_set():
            connection.recv(1)
        first.set()
        connection.sendall(WITH)

    with serving(has_then_hangs) as hanging, serving(InTurn(WITH, WITHOUT)) as good:
        seen = list(watch_gone([hanging.url(), good.url()], KID, seconds=1, now=NOW))
    assert [(each.verifier, each.gone) for each in seen] == [(good.url(), True), (hanging.url(), False)]
    assert seen[1].detail == "still has the key"


def test_the_looks_at_a_verifier_are_few_and_grow_apart() -> None:
    with serving(WITH) as stub:
        list(watch_gone([stub.url()], KID, seconds=1.5, now=NOW))
    assert 3 <= len(stub.heads) <= 7  # at 0, 0.2, 0.5, 0.95, then 1.22, 1.36: half of what is left each


def test_a_fault_of_ours_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> documents.Fetched:
        raise AssertionError("a bug")

    monkeypatch.setattr(documents, "get", broken)
    with pytest.raises(AssertionError, match="a bug"):
        ask_all(["http://127.0.0.1:1/"], KEY, seconds=1, now=NOW)
    with pytest.raises(AssertionError, match="a bug"):
        list(watch_gone(["http://127.0.0.1:1/"], KID, seconds=1, now=NOW))


def test_stopping_early_waits_for_nobody() -> None:
    with serving(document({"kids": []})) as good, serving(silent) as hanging:
        begun = time.monotonic()
        assert next(watch_gone([hanging.url(), good.url()], KID, seconds=5, now=NOW)).verifier == good.url()
        assert time.monotonic() - begun < 3


def test_the_stub_keeps_what_it_was_asked() -> None:
    with serving(answer(b"x")) as stub, socket.create_connection(("127.0.0.1", stub.port)) as peer:
        peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert isinstance(stub, Stub)
    assert stub.heads == [b"GET / HTTP/1.0\r\n\r\n"]
