"""What a network and a service can do to one exchange: it ends in time, in our words, and what may be done is not repeated."""

from __future__ import annotations

import gzip
import hashlib
import logging
import secrets
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import missing
from tests.servers import faults
from tests.servers.authority import Authority, Certificate
from tests.stub import Answer, Answering, Stub, answer, serving
from tokenctl.errors import AccessDenied, InvalidConfiguration, InvalidRequest, ServerError, TokenctlError
from tokenctl.http import transport
from tokenctl.http.attempt import Answer as Answered
from tokenctl.http.attempt import _retry_after
from tokenctl.http.peer import PARALLEL, Peer, Unanswered, maybe_done, origin_of

GOOD = faults.document({"active": True})
SECRET = secrets.token_urlsafe(32)
BOUND = 20  # seconds that nothing here may take, however slow the machine
TRIES = 4
OPEN: list[Peer] = []


def peer_of(stub: Stub, *, seconds: float = 5, ca_file: Path | None = None) -> Peer:
    return peer_at(origin_of(stub.url()), seconds=seconds, ca_file=ca_file)


def peer_at(*origins: str, seconds: float = 5, ca_file: Path | None = None) -> Peer:
    OPEN.append(Peer(origins, ca_file=str(ca_file) if ca_file is not None else None, seconds=seconds, pause=0.02))
    return OPEN[-1]


def ask(peer: Peer, url: str, *, repeatable: bool = True) -> Answered:
    """Ask with a credential in a header and a token in the body, as every request to a service has them."""
    headers = {"Authorization": f"Bearer {SECRET}"}
    return peer.ask("POST", url, repeatable=repeatable, form={"token": SECRET}, headers=headers)


def failing(
    answering: Answer, *, repeatable: bool, seconds: float = 5, context: ssl.SSLContext | None = None, ca_file: Path | None = None
) -> tuple[TokenctlError, Stub]:
    """Ask what answers so; return how that failed, in bounded time and without a word of the secret."""
    with serving(answering, context) as stub:
        peer = peer_of(stub, seconds=seconds, ca_file=ca_file)
        begun = time.monotonic()
        with pytest.raises(TokenctlError) as caught:
            ask(peer, stub.url(), repeatable=repeatable).members()
        assert time.monotonic() - begun < BOUND
        check_told(caught.value)
        return caught.value, stub


def check_told(error: TokenctlError) -> None:
    """A line of cause, at most one of remedy, and nothing of what was sent or came."""
    told = [error.message, error.hint or "", *traceback.format_exception(error)]
    assert not any(SECRET in line for line in told)
    assert error.message.isprintable()
    assert error.hint is None or error.hint.isprintable()
    assert len(error.message) < 300
    behind = None if error.__suppress_context__ else error.__context__
    assert behind is None or not type(behind).__module__.startswith(("httpx", "httpcore", "h11", "ssl", "zlib"))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture(autouse=True)
def _nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whoever sets up logging in this interpreter sees no address and no header."""
    caplog.set_level(logging.DEBUG)
    yield
    assert [record.name for record in caplog.records if record.name.startswith(("http", "h11", "h2"))] == []


def informed(connection: socket.socket) -> None:
    """Promise an answer again and again."""
    while True:
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        time.sleep(0.01)


def behind_gzip(connection: socket.socket) -> None:
    """Send a whole gzip, and then more behind it without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    packed = gzip.compress(b'{"active": true}')
    connection.sendall(b"%x\r\n%b\r\n" % (len(packed), packed))
    while True:
        connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LATE = "did not answer in time"
CLOSED = "closed the connection without an answer"
UNREADABLE = "sent an answer that cannot be read"
TOO_MUCH = "sent more than 8192 KiB"

# What is sent: what is told, and whether that is of a service that breaks its contract (8) or of one that is away (7).
WIRE: dict[str, tuple[Answer, str, type[TokenctlError]]] = {
    "reset": (faults.reset, "broke the connection off", Unanswered),
    "reset within the head": (faults.reset_after(GOOD[:20]), "broke the connection off", Unanswered),
    "reset within the body": (faults.reset_after(GOOD[:-5]), "broke the connection off", Unanswered),
    "closed": (b"", CLOSED, Unanswered),
    "cut": (faults.cut(GOOD), UNREADABLE, ServerError),
    "cut within the head": (GOOD[:20], CLOSED, Unanswered),
    "longer than it is": (faults.wrong_length(b"{}", 1000), UNREADABLE, ServerError),
    "length is no number": (GOOD.replace(b"Content-Length: ", b"Content-Length: x"), UNREADABLE, ServerError),
    "two lengths": (GOOD.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"), UNREADABLE, ServerError),
    "many headers": (faults.many_headers(), UNREADABLE, ServerError),
    "headers of 100 MB": (faults.huge_headers(), UNREADABLE, ServerError),
    "a header without an end": (faults.endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536), UNREADABLE, ServerError),
    "a chunk size without an end": (faults.endless(CHUNKED, b"0" * 65536), UNREADABLE, ServerError),
    "not http": (faults.GARBAGE["not http"] + b"\r\n", UNREADABLE, ServerError),
    "bad chunk": (faults.GARBAGE["bad chunk"], UNREADABLE, ServerError),
    "no gzip": (faults.GARBAGE["no gzip"], UNREADABLE, ServerError),
    "half a gzip": (faults.GARBAGE["half a gzip"], UNREADABLE, ServerError),
    "an encoding that nobody asked for": (answer(b"{}", "Content-Encoding: br"), UNREADABLE, ServerError),
    "more behind a gzip": (behind_gzip, UNREADABLE, ServerError),
}  # fmt: skip
# What is not tried again: there is too much of it, or the time is over.
ONCE: dict[str, tuple[Answer, str, type[TokenctlError]]] = {
    "10 GB": (faults.endless(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", bytes(65536)), TOO_MUCH, ServerError),
    "endless": (faults.endless(b"HTTP/1.1 200 OK\r\n\r\n", bytes(65536)), TOO_MUCH, ServerError),
    "endless chunks": (faults.endless(CHUNKED, b"10000\r\n" + bytes(65536) + b"\r\n"), TOO_MUCH, ServerError),
    "bomb": (faults.bomb(), TOO_MUCH, ServerError),
    "silent": (faults.silent, LATE, Unanswered),
    "silent within": (faults.drip(b"", first=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), LATE, Unanswered),
    "dripping head": (faults.drip(b"X-A: b\r\n", first=b"HTTP/1.1 200 OK\r\n"), LATE, Unanswered),
    "dripping body": (faults.drip(b" ", first=b"HTTP/1.1 200 OK\r\n\r\n"), LATE, Unanswered),
    "dripping chunks": (faults.drip(b"1\r\n \r\n", first=CHUNKED), LATE, Unanswered),
    "promises": (informed, LATE, Unanswered),
}  # fmt: skip


@pytest.mark.parametrize("repeatable", [True, False], ids=["repeatable", "once"])
@pytest.mark.parametrize("what", WIRE)
def test_what_breaks_on_the_way_is_tried_again_only_where_that_does_no_more(what: str, repeatable: bool) -> None:
    sent, told, kind = WIRE[what]
    error, stub = failing(sent, repeatable=repeatable, seconds=10)
    assert error.message == f"{origin_of(stub.url())} {told}"
    assert (type(error), maybe_done(error)) == (kind, True)
    assert len(stub.requests) == (TRIES if repeatable else 1)


@pytest.mark.parametrize("what", ONCE)
def test_too_much_and_too_late_end_at_once_or_at_the_deadline(what: str) -> None:
    sent, told, kind = ONCE[what]
    passing = kind is Unanswered
    error, stub = failing(sent, repeatable=not passing, seconds=0.6 if passing else 10)
    assert error.message == f"{origin_of(stub.url())} {told}"
    assert (type(error), error.exit_code, maybe_done(error)) == (kind, 7 if passing else 8, True)
    assert len(stub.requests) == 1


@pytest.mark.parametrize("what", [name for name in faults.GARBAGE if name not in ("escape sequences", "nothing", *WIRE)])
def test_a_body_that_is_no_json_object_breaks_the_contract(what: str) -> None:
    error, stub = failing(faults.GARBAGE[what], repeatable=True)
    assert (type(error), error.exit_code, error.reason, maybe_done(error)) == (ServerError, 8, "malformed_answer", True)
    assert error.message.startswith(f"{origin_of(stub.url())} broke its contract: the answer ")
    assert len(stub.requests) == 1


def test_words_that_are_no_plain_words_are_not_repeated() -> None:
    with serving(faults.GARBAGE["escape sequences"]) as stub:
        assert ask(peer_of(stub), stub.url()).refusal() is None


@pytest.mark.parametrize("repeatable", [True, False])
def test_nobody_there_did_nothing(repeatable: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Unanswered, match=r"was not reached: no connection$") as caught:
        ask(peer_at(url, seconds=5), f"{url}/token", repeatable=repeatable)
    check_told(caught.value)
    assert caught.value.carried_out is False


def test_a_listener_that_accepts_nobody_is_left_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        full = [socket.socket() for _ in range(4)]  # what the kernel accepts for it, and more
        for one in full:
            one.setblocking(False)
            one.connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}"
        begun = time.monotonic()
        with pytest.raises(Unanswered, match=f"{LATE}$") as caught:
            ask(peer_at(url, seconds=0.5), f"{url}/token", repeatable=False)
        assert time.monotonic() - begun < BOUND
        assert caught.value.carried_out is False
        for one in full:
            one.close()


def test_a_server_that_never_shakes_hands_did_nothing(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(Unanswered, match=f"{LATE}$") as caught:
            ask(peer_at(url, seconds=0.5, ca_file=authority.file), f"{url}/token", repeatable=False)
        assert caught.value.carried_out is False


def test_a_name_that_resolves_to_nothing_is_told() -> None:
    url = "https://no-such-name.invalid"
    with pytest.raises(Unanswered, match=rf"^{url} (was not reached: no connection|{LATE})$") as caught:
        ask(peer_at(url, seconds=2), f"{url}/token", repeatable=False)
    assert caught.value.carried_out is False


def test_what_was_given_up_before_it_left_never_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up of a name goes on for longer than anybody waits, and then ends well."""
    with serving(GOOD) as stub:
        looked_up, resolve = threading.Event(), socket.getaddrinfo

        def slowly(*arguments: object, **options: object) -> object:
            looked_up.wait(BOUND)
            return resolve(*arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        with pytest.raises(Unanswered, match=f"{LATE}$") as caught:
            ask(peer_of(stub, seconds=0.3), stub.url(), repeatable=False)
        assert caught.value.carried_out is False
        before = threading.active_count()
        looked_up.set()
        begun = time.monotonic()
        while threading.active_count() >= before and time.monotonic() < begun + BOUND:
            time.sleep(0.01)
        time.sleep(0.1)
        assert stub.requests == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", ".example"])
def test_what_no_name_server_can_be_asked_is_no_url(host: str) -> None:
    with pytest.raises(InvalidRequest, match="not a URL"):
        origin_of(f"https://{host}/")


# Later, and not now


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize("said", [said for said in faults.RETRY_AFTER if said not in ("120", faults.RETRY_AFTER[5], "9" * 20)])
def test_who_asks_to_come_again_is_asked_again(said: str | None, status: str) -> None:
    now = faults.InTurn(faults.try_later(said, status), GOOD)
    named = said is not None and (said in ("0", "1") or "GMT" in said)
    with serving(now) as stub:
        begun = time.monotonic()
        if status.startswith("429") or named:  # it surely did nothing
            assert ask(peer_of(stub), stub.url(), repeatable=False).status == 200
            assert len(stub.requests) == 2
            assert time.monotonic() - begun > (1 if said == "1" else 0)
        else:
            with pytest.raises(Unanswered, match=r"answered 503$") as caught:
                ask(peer_of(stub), stub.url(), repeatable=False)
            assert (caught.value.carried_out, len(stub.requests)) == (None, 1)
            assert ask(peer_of(stub), stub.url()).status == 200


@pytest.mark.parametrize(
    ("said", "shown"), [("120", "2m"), ("9" * 20, "11574d 1h"), (faults.RETRY_AFTER[5], "11574d 1h"), ("0" * 5 + "90", "1m 30s")]
)
def test_a_time_beyond_the_deadline_is_told_and_not_waited_for(said: str, shown: str) -> None:
    error, stub = failing(faults.try_later(said), repeatable=True)
    assert error.message == f"{origin_of(stub.url())} answered 429"
    assert error.hint == f"it asks to wait {shown}: run again then, or raise --timeout"
    assert (len(stub.requests), maybe_done(error)) == (1, False)


def test_who_says_come_at_once_is_not_asked_a_thousand_times() -> None:
    error, stub = failing(faults.try_later("0"), repeatable=True, seconds=1)
    assert error.exit_code == 7
    assert 3 < len(stub.requests) < 12


DATES = st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,4} [A-Z][a-z]{2} [0-9]{1,12} [0-9:]{1,9} [-+A-Z0-9]{0,5}\Z")


@given(st.one_of(st.text(max_size=60), DATES))
@settings(max_examples=100, deadline=None)
def test_whatever_stands_there_is_a_time_or_nothing(said: str) -> None:
    pause = _retry_after(said)
    assert pause is None or 0 <= pause <= 10**9


@pytest.mark.parametrize("zone", ["GMT", "-0000", ""])
def test_a_date_is_of_greenwich_whatever_the_zone_here(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        at = time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime(time.time() + 100))
        pause = _retry_after(f"{at} {zone}".strip())
        assert pause is not None
        assert 90 < pause < 101
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_burst_of_failures_is_outlasted() -> None:
    bad = [answer(b"", status=status) for status in ("500 x", "502 x", "504 x")]
    with serving(faults.InTurn(*bad, GOOD)) as stub:
        assert ask(peer_of(stub), stub.url()).members() == {"active": True}
        assert len(stub.requests) == TRIES


@pytest.mark.parametrize("status", [500, 502, 503, 504, 507, 520, 524])
def test_failures_without_an_end_are_told_and_what_may_be_done_is_not_repeated(status: int) -> None:
    for repeatable in (True, False):
        error, stub = failing(answer(b"<html>oops", status=f"{status} x"), repeatable=repeatable)
        assert error.message == f"{origin_of(stub.url())} answered {status}"
        assert isinstance(error, Unanswered)
        assert (error.carried_out, error.body) == (None, b"<html>oops")
        assert len(stub.requests) == (TRIES if repeatable else 1)


def test_the_excuse_for_a_failure_is_not_waited_for() -> None:
    error, stub = failing(faults.drip(b"x", first=b"HTTP/1.1 500 x\r\n\r\n"), repeatable=False, seconds=15)
    assert (error.message, error.exit_code) == (f"{origin_of(stub.url())} answered 500", 7)


@pytest.mark.parametrize("status", [200, 204, 400, 401, 403, 404, 405, 501, 505])
def test_an_answer_is_an_answer(status: int) -> None:
    with serving(answer(b"" if status == 204 else b"{}", status=f"{status} x")) as stub:
        assert ask(peer_of(stub), stub.url(), repeatable=False).status == status
        assert len(stub.requests) == 1


# To whom


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["to another", "to itself"])
def test_a_redirect_is_not_followed(status: int, where: str) -> None:
    with serving(GOOD) as other:
        target = other.url() if where == "to another" else "/elsewhere"
        error, stub = failing(faults.redirect(target, f"{status} x"), repeatable=True)
        assert (type(error), error.exit_code, error.reason) == (ServerError, 8, "redirected")
        assert error.message == f"{origin_of(stub.url())} answered {status}: redirects are not followed"
        assert ([request.path for request in stub.requests], other.heads) == (["/jwks.json"], [])


def test_only_a_confirmed_origin_is_spoken_to() -> None:
    with serving(GOOD) as stub, serving(GOOD) as other:
        peer = peer_of(stub)
        for url in (other.url(), stub.url().replace("127.0.0.1", "localhost"), stub.url().replace("http:", "https:")):
            with pytest.raises(AccessDenied, match="is no confirmed origin of the service: nothing was sent") as caught:
                ask(peer, url)
            check_told(caught.value)
        assert (stub.heads, other.heads) == ([], [])


@pytest.mark.parametrize(
    "url", ["http://as.example/token", "http://192.0.2.1/token", "ftp://127.0.0.1/", "https://user@as.example/", "//as.example/",
            "https://as.example/\n", "https://as.example:0/", "https://as.example/#a", "http://127.0.0.1.as.example/"],
)  # fmt: skip
def test_no_credential_goes_where_everybody_reads_it(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(peer_at("http://as.example", "https://as.example"), url)
    check_told(caught.value)


BAD: dict[str, tuple[Callable[[Authority], Certificate], str]] = {
    "expired": (Authority.expired, "its certificate has expired"),
    "not yet valid": (Authority.not_yet_valid, "its certificate is not yet valid"),
    "another host": (Authority.of_another_host, "its certificate is for another address"),
    "another authority": (Authority.of_another_authority, "its certificate is of no authority that this machine trusts"),
    "self-signed": (Authority.self_signed, "its certificate is self-signed"),
}


def fingerprint(certificate: Certificate) -> str:
    first = certificate.chain.read_text().partition("-----END CERTIFICATE-----")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert("".join(first[:2]))).hexdigest()


@pytest.mark.parametrize("repeatable", [True, False], ids=["repeatable", "once"])
@pytest.mark.parametrize("what", BAD)
def test_a_certificate_that_is_refused_is_named_and_nothing_is_sent(what: str, repeatable: bool, authority: Authority) -> None:
    make, told = BAD[what]
    certificate = make(authority)
    error, stub = failing(GOOD, repeatable=repeatable, context=certificate.context(), ca_file=authority.file)
    assert error.message == f"{origin_of(stub.url())} was not reached: {told} (SHA-256 {fingerprint(certificate)})"
    assert (type(error), error.exit_code, maybe_done(error)) == (Unanswered, 7, False)
    assert stub.heads == []


def test_a_certificate_is_trusted_by_the_file_of_its_authority_alone(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving(GOOD, authority.good.context()) as stub:
        assert ask(peer_of(stub, ca_file=authority.file), stub.url()).status == 200
        # Nothing in the environment says whom to trust, and nowhere the keys of a connection are written.
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent))
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        transport.context.cache_clear()
        assert ask(peer_of(stub, ca_file=authority.file), stub.url()).status == 200
        with pytest.raises(Unanswered, match="of no authority that this machine trusts"):
            ask(peer_of(stub), stub.url())
        transport.context.cache_clear()
        assert len(stub.requests) == 2
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("held", [None, b"", b"no certificate"])
def test_a_file_without_certificates_is_told(held: bytes | None, tmp_path: Path, authority: Authority) -> None:
    file = tmp_path / "ca.pem"
    if held is not None:
        file.write_bytes(held)
    with serving(GOOD, authority.good.context()) as stub:
        with pytest.raises(InvalidConfiguration, match="holds no certificates to trust") as caught:
            ask(peer_of(stub, ca_file=file), stub.url())
        check_told(caught.value)
        assert stub.heads == []


def test_a_server_without_tls_where_tls_is_named_gets_nothing() -> None:
    with serving(GOOD) as stub:
        url = stub.url("").replace("http:", "https:")
        with pytest.raises(Unanswered, match=r"was not reached: no TLS connection$") as caught:
            ask(peer_at(url, seconds=5), f"{url}/token", repeatable=False)
        check_told(caught.value)
        assert caught.value.carried_out is False
        assert not any(SECRET.encode() in request.head + request.body for request in stub.requests)


def test_no_proxy_of_the_environment_is_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answer(b"{}", status="502 x")) as proxy, serving(GOOD) as stub:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        assert ask(peer_of(stub), stub.url()).status == 200
        assert proxy.heads == []


def test_an_address_of_version_6_is_spoken_to() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        missing("IPv6 on loopback")
    with serving(GOOD, host="::1") as stub:
        assert ask(peer_of(stub), stub.url()).place == f"http://[::1]:{stub.port}"
        assert f"\r\nHost: [::1]:{stub.port}\r\n".encode() in stub.heads[0]


# One connection after the other


def then_reset(connection: socket.socket) -> None:
    """Answer, and break off at the next request."""
    connection.sendall(GOOD)
    if connection.recv(65536):
        faults.reset(connection)


@pytest.mark.parametrize("answering", [GOOD, then_reset], ids=["closed since", "closing just now"])
def test_a_kept_connection_that_the_server_closed_costs_nothing(answering: bytes | Answering) -> None:
    with serving(answering) as stub:
        peer = peer_of(stub)
        for repeatable in (True, True, False, False, True):
            assert ask(peer, stub.url(), repeatable=repeatable).status == 200
        assert len(stub.requests) == 5  # each on a connection of its own in the end


def test_a_cookie_is_not_given_back() -> None:
    with serving(answer(b"{}", "Set-Cookie: a=b; Path=/")) as stub:
        peer = peer_of(stub)
        ask(peer, stub.url())
        ask(peer, stub.url())
        assert len(stub.heads) == 2
        assert not any(b"cookie" in head.lower() for head in stub.heads)


def test_many_ask_at_once_over_one_client() -> None:
    with serving(faults.late(GOOD, seconds=0.1)) as stub:
        peer = peer_of(stub)
        with ThreadPoolExecutor(PARALLEL) as pool:
            answers = list(pool.map(lambda _: ask(peer, stub.url()).status, range(3 * PARALLEL)))
        assert answers == [200] * 3 * PARALLEL
        assert len(peer._clients) == 1


def test_a_secret_that_no_header_admits_is_refused_before_it_is_sent() -> None:
    from tokenctl.http.peer import require_header

    for text in (b"", b"a b", b"a\nX: y", b"\xff", b"a\r", "ä".encode()):
        with pytest.raises(InvalidConfiguration) as caught:
            require_header(text, "the credential")
        check_told(caught.value)
