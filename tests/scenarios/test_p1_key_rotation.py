"""P1 and F4, keys that rotate under load: a service behind a caching gateway refuses no valid token, and is waited for."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.conftest import Cli, Result
from tests.gateway import Gateway, caching_gateway
from tests.stub import answer, serving

AUDIENCE = "api.example"
ALGORITHM = "ES256"
_REFRESH = 0.3  # seconds between two looks of the service at the gateway
_MARGIN = 0.5  # seconds before its end within which a token is not tried: both clocks may pass it in between


class Service:
    """Accepts JWTs by the keys that it has fetched last, and fetches them at fixed times only, not when it misses one.

    Attributes:
        refused: What was presented while valid and not accepted.
        accepted: How often a token was accepted.
    """

    def __init__(self, jwks: str) -> None:
        self._jwks = jwks
        self._keys = KeySet([])
        self._registry = jwt.JWTClaimsRegistry(aud={"essential": True, "value": AUDIENCE}, exp={"essential": True})
        self._held: list[dict[str, Any]] = []
        self._stopping = threading.Event()
        self.refused: list[tuple[object, ...]] = []
        self.accepted = 0

    def fetch(self) -> None:
        response = httpx.get(self._jwks, timeout=5, trust_env=False)
        if response.status_code == 200:
            self._keys = KeySet.import_key_set(response.json())

    @property
    def kids(self) -> list[str]:
        return [str(key.kid) for key in self._keys.keys]

    def answer_health(self, connection: socket.socket) -> None:
        connection.sendall(answer(json.dumps({"kids": self.kids}).encode()))

    def hand_in(self, tokens: list[dict[str, Any]]) -> None:
        """Give it tokens that are presented from now on, at once and for as long as they are valid."""
        self.present(tokens)
        self._held.extend(tokens)

    def present(self, tokens: list[dict[str, Any]]) -> None:
        for token in tokens:
            if token["exp"] - time.time() < _MARGIN:
                continue
            try:
                self._registry.validate(jwt.decode(token["token"], self._keys, algorithms=[ALGORITHM]).claims)
            except (JoseError, ValueError) as error:
                self.refused.append((type(error).__name__, str(error), token["id"], token["kid"], self.kids))
            else:
                self.accepted += 1

    def present_all(self) -> None:
        self.present(self._held)

    def work(self) -> None:
        """Fetch and accept until stopped: each time the newest, and some of the others in turn."""
        turn = 0
        while not self._stopping.wait(_REFRESH):
            self.fetch()
            held = list(self._held)
            self.present(held[-20:] + held[turn % 29 :: 29])
            turn += 1

    @contextmanager
    def working(self) -> Iterator[None]:
        thread = threading.Thread(target=self.work)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join(timeout=10)
            assert not thread.is_alive()


def configure(cli: Cli, text: str) -> None:
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def policy(gateway: Gateway, verifiers: list[str], *, age: str) -> str:
    return (
        f'jwks_file = "{gateway.file}"\nverifiers = {json.dumps(verifiers)}\n'
        f'[rotation]\nage = "{age}"\npublication = "1s"\ngrace = "0s"\n'
    )


def issue(cli: Cli, count: int, ttl: str) -> list[dict[str, Any]]:
    done = cli("issue", "--subject", "gw", "--format", "jwt", "--audience", AUDIENCE, "--ttl", ttl, "--count", str(count), "-q")
    assert done.code == 0, done.err
    tokens = done.lines
    assert len(tokens) == count
    return [{**token, "exp": datetime.fromisoformat(str(token["expires_at"])).timestamp()} for token in tokens]


class Operator:
    """Runs ``rotate-keys`` again and again, as cron does; every run ends with 0, or blocked with 6."""

    def __init__(self, cli: Cli) -> None:
        self._cli = cli
        self.runs = 0

    def run(self) -> Result:
        done = self._cli("rotate-keys", "-o", "json", "--timeout", "5s")
        self.runs += 1
        assert done.code in (0, 6), done
        assert [key["state"] for key in done.json["keys"]].count("active") == 1
        return done

    def until(self, action: str, *, code: int = 0) -> Result:
        """Run until a step is taken (or blocked: ``code`` 6); return how that run ended."""
        limit = time.monotonic() + 15
        while time.monotonic() < limit:
            done = self.run()
            if done.code == code == 6 or (code == 0 and action in [step["action"] for step in done.json["did"]]):
                return done
            assert done.code == 0 or code == 0, done
            time.sleep(0.1)
        raise AssertionError(f"{action} did not come: {done}")


def states(done: Result) -> dict[str, str]:
    return {key["kid"]: key["state"] for key in done.json["keys"]}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with caching_gateway(tmp_path / "nginx") as gateway:
        yield gateway


def test_no_valid_token_is_refused_while_keys_rotate_three_times(cli: Cli, gateway: Gateway) -> None:
    service = Service(gateway.url)
    with serving(service.answer_health) as health:
        verifiers = [gateway.url, health.url("/health")]
        configure(cli, policy(gateway, verifiers, age="2s"))
        first = issue(cli, 400, "1h")  # makes the first key, and publishes it
        service.fetch()
        with service.working():
            rotate(cli, gateway, service, verifiers, first)
        assert service.refused == []
    assert service.accepted > 5_000
    assert cli("audit", "verify", "-q").code == 0
    records = [str(record["operation"]) for record in cli("audit", "log", "-o", "jsonl").lines]
    counted = {name: records.count(name) for name in ("key.create", "key.publish", "key.activate", "key.retire", "token.issue")}
    assert counted == {"key.create": 4, "key.publish": 3, "key.activate": 4, "key.retire": 4, "token.issue": 2000}


def rotate(cli: Cli, gateway: Gateway, service: Service, verifiers: list[str], first: list[dict[str, Any]]) -> None:
    operator = Operator(cli)
    service.hand_in(first)

    # Once: a key follows, and its tokens are accepted from the first moment on; they are short-lived.
    done = operator.until("activate")
    assert sorted(states(done).values()) == ["active", "retiring"]
    second = issue(cli, 500, "6s")
    assert {token["kid"] for token in second} & {token["kid"] for token in first} == set()
    service.hand_in(second)
    service.present_all()

    # Twice: the gateway's cache is stale. The step is blocked, both verifiers are named, and the old key goes on signing.
    gateway.lose_origin()
    blocked = operator.until("activate", code=6)
    kid = next(kid for kid, state in states(blocked).items() if state == "published")
    lacking = [{"kid": kid, "alg": "ES256", "verifier": url, "detail": "does not have the key"} for url in verifiers]
    assert blocked.json["blocked_by"] == lacking
    error = json.loads(blocked.err)
    assert (error["error"], error["reason"], error["exit_code"]) == ("conflict", "verifier_lacks_key", 6)
    assert error["message"] == f"{kid} (ES256) may not sign yet: " + "; ".join(
        f"{url} does not have the key" for url in verifiers
    )
    assert states(operator.run())[kid] == "published"
    meanwhile = issue(cli, 100, "1h")
    assert {token["kid"] for token in meanwhile} == {token["kid"] for token in second}
    service.hand_in(meanwhile)
    gateway.find_origin()
    assert kid in {step["kid"] for step in operator.until("activate").json["did"]}
    third = issue(cli, 500, "4s")
    assert {token["kid"] for token in third} == {kid}
    service.hand_in(third)
    service.present_all()

    # Three times; what no token needs any more goes, from the key set too, and what some need stays.
    operator.until("activate")
    configure(cli, policy(gateway, verifiers, age="90d"))  # enough
    fourth = issue(cli, 500, "1h")
    service.hand_in(fourth)
    service.present_all()
    last = operator.run() if states(operator.run())[kid] == "retired" else operator.until("retire")
    assert states(last) == {
        first[0]["kid"]: "retiring", second[0]["kid"]: "retiring", kid: "retired", fourth[0]["kid"]: "active",
    }  # fmt: skip
    limit = time.monotonic() + 5
    while kid in service.kids and time.monotonic() < limit:
        time.sleep(0.05)
    assert set(service.kids) == {first[0]["kid"], second[0]["kid"], fourth[0]["kid"]}
    service.present_all()
    assert len(first) + len(second) + len(meanwhile) + len(third) + len(fourth) == 2_000
