"""A signing key leaked: every token under it is denied by one row, a new key signs, and verifiers are watched until they know."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.bench.bulk_revoke import fill
from tests.conftest import Cli, Result
from tests.gateway import Gateway, caching_gateway
from tests.stub import answer, serving

JWT = ("--format", "jwt", "--audience", "api.example")
MANY = 100_000


def configure(cli: Cli, text: str) -> None:
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def served(cli: Cli) -> list[str]:
    return [key["kid"] for key in cli("rotate-keys", "jwks").json["keys"]]


def kid_of(cli: Cli, token: str) -> str:
    return str(inspected(cli, token).json["kid"])


def inspected(cli: Cli, *tokens: str) -> Result:
    return cli("inspect", "-", "--audience", "api.example", "-o", "json", input="\n".join(tokens))


def compromise(cli: Cli, kid: str, *more: str) -> Result:
    return cli("rotate-keys", "--compromised", kid, *more, "-o", "json")


def test_a_hundred_thousand_tokens_are_inactive_at_the_next_read(cli: Cli) -> None:
    real = [cli.token(*JWT) for _ in range(3)]
    opaque = cli.token()
    kid = kid_of(cli, real[0])
    filled = {
        "format": "jwt", "kid": kid, "issuer": "urn:x", "audience": ("api.example",), "verifier": None, "pepper_version": None,
    }  # fmt: skip
    ids = fill(cli.home, MANY - len(real), **filled)
    assert inspected(cli, *real).code == 0

    done = compromise(cli, kid)
    assert (done.code, done.err) == (0, "")
    told: Any = done.json["compromised"]
    assert (told["kid"], told["tokens"], told["forged"], told["verifiers"]) == (kid, MANY, None, [])
    assert told["owners"][0] == {"owner": "bench", "tokens": MANY - len(real)}
    assert sum(owner["tokens"] for owner in told["owners"]) == MANY
    assert [step["action"] for step in done.json["did"]] == ["compromise", "activate"]

    # No token's own row was touched: the key's is enough, for the text, for the id, for the list, one by one and all at once.
    for answered in (inspected(cli, *real), cli("inspect", *ids[::10_000], "-o", "json")):
        assert answered.code == 3, answered
        results: Any = answered.json["tokens"]
        assert {result["state"] for result in results} == {"revoked"}
        assert {(result["active"], result["revoked"]["reason"]) for result in results} == {(False, f"key {kid} compromised")}
    listed = cli("list", "--kid", kid, "--state", "all")
    columns = [line.split("\t")[:2] for line in listed.out.splitlines()]
    assert {state for _, state in columns} == {"revoked"}
    assert len({identifier for identifier, _ in columns}) == MANY
    assert set(ids) < {identifier for identifier, _ in columns}

    # A new key signs, what it signs is accepted, and what has no key is as it was.
    assert served(cli) == [told["replaced_by"]]
    fresh = cli.token(*JWT)
    assert kid_of(cli, fresh) == told["replaced_by"]
    assert inspected(cli, fresh).code == 0
    assert cli("inspect", "-", "-q", input=opaque).code == 0
    verified = cli("audit", "verify")
    assert (verified.code, verified.out.split(" ")[0]) == (0, "OK"), verified
    again = compromise(cli, kid)
    assert (again.code, again.json["did"], served(cli)) == (0, [], [told["replaced_by"]])


@pytest.fixture
def gateway(cli: Cli, tmp_path: Path) -> Iterator[Gateway]:
    with caching_gateway(tmp_path / "nginx") as gateway:
        configure(cli, f'jwks_file = "{gateway.file}"\n')
        yield gateway


def kids_at(gateway: Gateway) -> list[str]:
    return [key["kid"] for key in httpx.get(gateway.url, trust_env=False).json()["keys"]]


def test_a_cache_is_watched_until_it_has_dropped_the_key_and_the_time_is_told(cli: Cli, gateway: Gateway) -> None:
    kid = kid_of(cli, cli.token(*JWT))
    assert kids_at(gateway) == [kid]
    gateway.lose_origin()  # the cache holds the key for longer than a look takes
    threading.Timer(2.0, gateway.find_origin).start()
    begun = time.time()
    done = compromise(cli, kid, "--verifier", gateway.url, "--timeout", "20s")
    assert (done.code, done.err) == (0, ""), done
    told: Any = done.json["compromised"]
    (seen,) = told["verifiers"]
    assert (seen["verifier"], seen["gone"], seen["detail"]) == (gateway.url, True, "no longer has the key")
    assert 1_000 < seen["waited_ms"] < 10_000
    assert begun + 1 < datetime.fromisoformat(seen["at"]).timestamp() < time.time()
    assert kids_at(gateway) == [told["replaced_by"]]
    assert gateway.asked() >= 7  # it was asked again and again

    text = cli("rotate-keys", "--compromised", kid, "--verifier", gateway.url)
    assert text.code == 0
    (line,) = [line for line in text.out.splitlines() if line.startswith("verifier\t")]
    assert line.split("\t")[:3] == ["verifier", gateway.url, "dropped"]


def test_a_verifier_that_goes_on_serving_the_key_is_named_and_the_rest_is_done(cli: Cli, gateway: Gateway) -> None:
    token = cli.token(*JWT)
    kid = kid_of(cli, token)
    with serving(answer(gateway.file.read_bytes())) as stale:
        begun = time.monotonic()
        done = compromise(cli, kid, "--verifier", stale.url(), "--verifier", gateway.url, "--timeout", "2s")
        took = time.monotonic() - begun
        assert done.code == 11
        told: Any = done.json["compromised"]
        assert [(seen["verifier"], seen["gone"], seen["at"] is None) for seen in told["verifiers"]] == [
            (gateway.url, True, False), (stale.url(), False, True),
        ]  # fmt: skip
        error = json.loads(done.err)
        assert error["message"] == f"what {kid} signed may still be accepted: {stale.url()} still has the key"
        assert error["exit_code"] == 11
        assert 1.5 < took < 8
        assert inspected(cli, token).code == 3
        assert served(cli) == [told["replaced_by"]]

        # Run again, it says so again: what is not known to be over is not over.
        text = cli("rotate-keys", "--compromised", kid, "--verifier", stale.url(), "--timeout", "1s")
        assert (text.code, text.err.splitlines()[0]) == (
            11, f"tokenctl: what {kid} signed may still be accepted: {stale.url()} still has the key",
        )  # fmt: skip
        quiet = cli("rotate-keys", "--compromised", kid, "--verifier", stale.url(), "--timeout", "1s", "-q")
        assert (quiet.code, quiet.out) == (11, "")
        assert stale.url() in quiet.err


def test_the_program_ends_while_a_verifier_still_sends(cli: Cli) -> None:
    kid = kid_of(cli, cli.token(*JWT))

    def endless(connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    with serving(endless) as verifier:
        begun = time.monotonic()
        done = cli("rotate-keys", "--compromised", kid, "--verifier", verifier.url(), "--timeout", "1s")
        assert time.monotonic() - begun < 5
    assert (done.code, done.err.splitlines()[0]) == (
        11, f"tokenctl: what {kid} signed may still be accepted: {verifier.url()} did not answer in time",
    )  # fmt: skip
    assert "Exception" not in done.err


def test_nobody_is_waited_for_before_a_leaked_key_is_denied(cli: Cli) -> None:
    token = cli.token(*JWT)
    kid = kid_of(cli, token)
    denied = threading.Event()

    def look(connection: Any) -> None:
        if inspected(cli, token).code == 3:
            denied.set()
        connection.sendall(answer(b'{"kids": []}'))

    with serving(look) as verifier:
        assert compromise(cli, kid, "--verifier", verifier.url()).code == 0
    assert denied.is_set()


def test_a_malformed_verifier_is_found_before_anything_is_changed(cli: Cli) -> None:
    token = cli.token(*JWT)
    kid = kid_of(cli, token)
    before = cli("audit", "log", "-o", "jsonl").out
    for url in ("http://gw.example/jwks.json", "https://me:pw@gw.example/", "jwks.json", "https://gw.example/#x"):
        for arguments in (("--compromised", kid, "--verifier", url), ("--verifier", url), ("status", "--verifier", url)):
            done = cli("rotate-keys", *arguments)
            assert (done.code, done.out) == (2, ""), (arguments, done)
            assert done.err.startswith("tokenctl: --verifier: ")
            assert "pw" not in done.err
    assert cli("audit", "log", "-o", "jsonl").out == before
    assert inspected(cli, token).code == 0


def test_a_malformed_verifier_of_the_profile_stops_every_step_but_keeps_nobody_from_denying_a_key(cli: Cli) -> None:
    token = cli.token(*JWT)
    kid = kid_of(cli, token)
    configure(cli, 'verifiers = ["https://gw.example/jwks.json", "https://me:s3cret@gw.example/"]\n[rotation]\nage = "1s"\n')
    time.sleep(1.01)
    before = cli("audit", "log", "-o", "jsonl").out
    told = (
        "the file of profile local: verifiers: number 2: a URL is https without user name and fragment, or http to this machine"
    )
    for command in (("rotate-keys",), ("rotate-keys", "status", "-o", "json")):
        done = cli(*command)
        assert (done.code, done.out) == (9, ""), done
        assert told in done.err
    assert cli("audit", "log", "-o", "jsonl").out == before
    assert cli("rotate-keys", "--check").code == 3
    assert cli("rotate-keys", "--unobserved").out.split("\t")[1:3] == ["publish", "ES256"]
    done = cli("rotate-keys", "--compromised", kid)
    assert (done.code, done.err) == (
        11,
        f"tokenctl: what {kid} signed may still be accepted, no verifier was asked: {told}\nhint: mend it with an editor\n",
    )
    assert "s3cret" not in done.out + done.err
    assert inspected(cli, token).code == 3


def test_check_answers_0_then_3_when_a_step_is_due(cli: Cli) -> None:
    now = int(time.time() * 1000)
    assert cli.at(now, "issue", "--subject", "s", *JWT, "-q").code == 0
    day = 86_400_000
    for later, code in ((0, 0), (90 * day - 1000, 0), (90 * day, 3), (91 * day, 3)):
        done = cli.at(now + later, "rotate-keys", "--check")
        assert (done.code, done.err) == (code, ""), later
        assert (done.out == "") == (code == 0), done
        assert cli.at(now + later, "rotate-keys", "--check", "-q").code == code
        due = json.loads(cli.at(now + later, "rotate-keys", "--check", "-o", "json").out)
        assert (due["due"], due["did"]) == (code == 3, [])
    assert len(cli("audit", "log", "--operation", "key.activate").out.splitlines()) == 1  # a question changes nothing


def test_a_key_that_tokens_need_is_not_retired_and_the_date_is_told(cli: Cli) -> None:
    token = cli.token(*JWT, "--ttl", "1h")
    kid = kid_of(cli, token)
    expires_at = inspected(cli, token).json["expires_at"]
    configure(cli, '[rotation]\nage = "1s"\npublication = "0s"\n')
    for _ in range(2):
        time.sleep(1.01)
        assert cli("rotate-keys", "--unobserved").code == 0
    early = cli("rotate-keys", "retire", kid)
    assert (early.code, early.out) == (6, "")
    assert early.err.startswith(f"tokenctl: tokens that {kid} signed are valid until {expires_at} (in ")
    machine = json.loads(cli("rotate-keys", "retire", kid, "-o", "json").err)
    assert (machine["error"], machine["reason"], machine["exit_code"]) == ("conflict", "key_needed", 6)
    assert kid in served(cli)
    assert inspected(cli, token).code == 0
