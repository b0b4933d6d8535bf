"""The faults are what they claim to be, as a plain client meets them: otherwise a test that survives them proves nothing."""

from __future__ import annotations

import json
import socket
import ssl
import time

import httpx
import pytest

from tests.servers import faults
from tests.servers.authority import Authority, Certificate
from tests.stub import Answering, answer, serving

GOOD = faults.document({"active": True})


def get(url: str, **options: object) -> httpx.Response:
    return httpx.get(url, **{"timeout": 5, "trust_env": False, **options})


def met(answering: bytes | Answering, **options: object) -> httpx.Response:
    with serving(answering) as stub:
        return get(stub.url(), **options)


def test_the_stub_answers_by_path_and_keeps_what_was_sent() -> None:
    with serving({"/token": GOOD, "/gone": faults.reset}) as stub:
        sent = httpx.post(stub.url("/token?a=b"), data={"scope": "x" * 100_000}, trust_env=False)
        assert sent.json() == {"active": True}
        assert get(stub.url("/unknown")).status_code == 404
        with pytest.raises(httpx.ReadError):
            get(stub.url("/gone"))
    first = stub.requests[0]
    assert (first.path, first.target, len(first.body)) == ("/token", "/token?a=b", len("scope=") + 100_000)
    assert first.head in stub.heads
    assert [request.path for request in stub.requests] == ["/token", "/unknown", "/gone"]


def test_a_slow_answer_is_whole_in_the_end() -> None:
    begun = time.monotonic()
    assert met(faults.slow(GOOD, seconds=0.5)).json() == {"active": True}
    assert met(faults.late(GOOD, seconds=0.3)).json() == {"active": True}
    assert time.monotonic() - begun > 0.75


def test_a_silent_server_is_left_at_the_deadline() -> None:
    with pytest.raises(httpx.ReadTimeout):
        met(faults.silent, timeout=0.2)


@pytest.mark.parametrize(
    ("answering", "error"),
    [
        pytest.param(faults.reset, httpx.ReadError, id="reset"),
        pytest.param(faults.reset_after(GOOD[:-5]), httpx.ReadError, id="reset within"),
        pytest.param(faults.cut(GOOD), httpx.RemoteProtocolError, id="cut"),
        pytest.param(faults.wrong_length(b"{}", 9), httpx.RemoteProtocolError, id="too long a length"),
        pytest.param(faults.huge_headers(1 << 20), httpx.RemoteProtocolError, id="huge headers"),
        pytest.param(faults.many_headers(), httpx.RemoteProtocolError, id="many headers"),
        pytest.param(faults.endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65_536), httpx.RemoteProtocolError, id="endless header"),
    ],
)
def test_a_broken_answer_breaks_a_client(answering: bytes | Answering, error: type[Exception]) -> None:
    with pytest.raises(error):
        met(answering)


def test_a_length_that_is_too_short_hides_the_rest() -> None:
    assert met(faults.wrong_length(b'{"active": true} trailing', 16)).json() == {"active": True}


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    size = 8 << 20
    bomb = faults.bomb(size)
    assert len(bomb) < size // 500
    assert len(met(bomb).content) > size


def test_a_redirect_names_another_origin_and_a_client_that_follows_is_caught() -> None:
    with serving(GOOD) as thief, serving(faults.redirect(thief.url("/token"))) as stub:
        assert get(stub.url()).status_code == 307
        assert thief.requests == []
        httpx.post(stub.url(), content=b"secret", follow_redirects=True, trust_env=False)
        assert [request.body for request in thief.requests] == [b"secret"]


@pytest.mark.parametrize("retry_after", faults.RETRY_AFTER)
@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_refusal_for_now_says_when_to_come_again(retry_after: str | None, status: str) -> None:
    refused = met(faults.try_later(retry_after, status))
    assert (str(refused.status_code), refused.headers.get("retry-after")) == (status[:3], retry_after)


def acceptable(name: str) -> bool:
    """Whether a client without care takes it for an object with an answer."""
    try:
        told = json.loads(met(faults.GARBAGE[name]).content)
    except (httpx.HTTPError, ValueError, RecursionError):
        return False
    return isinstance(told, dict)


def test_garbage_is_no_answer() -> None:
    careless = {name for name in faults.GARBAGE if acceptable(name)}
    # What Python's parser takes and ours must not: and the one whose strings a terminal would obey.
    assert careless == {"names twice", "not a number", "infinite", "escape sequences", "utf-16", "byte order mark"}


def test_answers_come_in_turn() -> None:
    with serving(faults.InTurn(faults.try_later("0"), GOOD)) as stub:
        assert [get(stub.url()).status_code for _ in range(3)] == [429, 200, 200]


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (Authority.expired, "certificate has expired"),
        (Authority.not_yet_valid, "certificate is not yet valid"),
        (Authority.of_another_host, "IP address mismatch"),
        (Authority.of_another_authority, "unable to get local issuer certificate"),
        (Authority.self_signed, "self-signed certificate"),
    ],
)
def test_a_bad_certificate_is_bad_for_its_reason(authority: Authority, prepare: object, reason: str) -> None:
    made = prepare(authority)
    assert isinstance(made, Certificate)
    with serving(GOOD, made.context()) as stub:
        with pytest.raises(httpx.ConnectError, match=reason):
            get(stub.url(), verify=authority.client())
        assert stub.requests == []


def test_a_good_certificate_is_good(authority: Authority) -> None:
    with serving(GOOD, authority.good.context()) as stub:
        assert get(stub.url(), verify=authority.client()).json() == {"active": True}
        assert get(stub.url().replace("127.0.0.1", "localhost"), verify=authority.client()).json() == {"active": True}
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            get(stub.url())


def test_a_server_without_tls_is_none(authority: Authority) -> None:
    with serving(answer(b"x")) as stub, pytest.raises(httpx.ConnectError):
        get(stub.url().replace("http:", "https:"), verify=authority.client())


def test_an_old_protocol_is_refused(authority: Authority) -> None:
    context = authority.good.context()
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    client = authority.client()
    client.minimum_version = ssl.TLSVersion.TLSv1_3
    with serving(GOOD, context) as stub, pytest.raises(httpx.ConnectError):
        get(stub.url(), verify=client)


def test_nobody_listens_where_a_listener_was() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        get(f"http://127.0.0.1:{port}/")
