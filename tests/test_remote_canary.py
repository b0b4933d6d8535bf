"""The canary at remote services: no byte of a credential or token reaches another origin, an output, a log or another file.

Every verb that speaks to a service runs at every verbosity, against real servers, through faults, and through a service that
says in its refusals what it was sent.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.at_openbao import AtOpenBao
from tests.conftest import Cli, Result
from tests.faults.conftest import under_strace
from tests.inprocess import InProcess
from tests.remote import AtServer, write_profile
from tests.scene import Made, Scene, issue, staged
from tests.servers import faults
from tests.servers.authority import Authority
from tests.servers.authorization_server import Client
from tests.servers.breaker import HANG, LOSE, REFUSE, Fate
from tests.servers.oidc_provider import OidcProvider
from tests.servers.openbao import OpenBao
from tests.stub import Request, answer, serving

SETTINGS = [
    tuple(part for part in parts if part)
    for parts in itertools.product(("", "-ojson", "-ojsonl"), ("", "-v", "-q"), ("", "--debug"))
]
# Words of each run and its stdin; {id} {token}.
RUNS: list[tuple[tuple[str, ...], str | None]] = [
    (("inspect", "-"), "{token}\n"),
    (("inspect", "-", "-o", "introspection"), "{token}\n"),
    (("inspect", "-"), "{token}x\n{token} {token}\nsee {token}\n"),
    (("inspect", "{id}"), None),
    (("list",), None),
    (("revoke", "-", "-n"), "a line with {token} in it\n"),
    (("audit", "log", "--token", "-"), "{token}\n"),
    (("audit", "show", "{id}"), None),
    (("audit", "verify"), None),
    (("audit", "review"), None),
    (("audit", "reconcile"), None),
    (("profile", "show"), None),
    (("whoami",), None),
    (("doctor",), None),
    (("login", "-"), "{credential}\n"),
    (("logout", "--revoke"), None),
    (("revoke", "-", "--yes", "--reason", "test"), "{token}\n"),
    (("revoke", "{id}", "--yes", "--reason", "test"), None),
    (("revoke", "{token}", "--yes"), None),
    (("rotate-keys", "status"), None),
]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[InProcess]:
    umask = os.umask(0o077)  # as the program does
    yield InProcess(tmp_path / "home")
    os.umask(umask)


@pytest.fixture(params=["oauth2", "openbao"])
def scene(
    request: pytest.FixtureRequest, cli: InProcess, oidc_provider: OidcProvider, openbao: OpenBao, authority: Authority
) -> Iterator[Scene]:  # fmt: skip
    with staged(str(request.param), cli, oidc_provider, openbao, authority) as scene:
        yield scene


def check_said(done: Result, kept: list[str]) -> None:
    """Nothing of what is to be kept is in an output, whole, cut or encoded."""
    assert done.code != 1, done
    for secret in kept:
        parts = (secret[:14], secret[-14:], base64.b64encode(secret.encode()).decode()[4:24])
        for output in (done.out, done.err):
            assert not any(part in output for part in parts), done


def canary(scene: Scene) -> dict[str, str]:
    done = issue(scene, "-o", "json")
    assert done.code == 0, done
    names = {"id": str(done.json["id"]), "token": str(done.json["token"]), "credential": scene.secrets[0]}
    scene.secrets.append(names["token"])
    return names


def run_all(scene: Scene, names: dict[str, str], settings: Iterator[tuple[str, ...]], times: int) -> None:
    for words, given in RUNS:
        for _ in range(times):
            command = [word.format(**names) for word in words]
            output = () if "introspection" in command else next(settings)
            done = scene.at(*command, *output, "--timeout", "1s", input=None if given is None else given.format(**names))
            check_said(done, scene.secrets)


def test_no_remote_verb_repeats_a_secret(scene: Scene) -> None:
    names = canary(scene)
    run_all(scene, names, itertools.cycle(SETTINGS), 2)
    scene.check()


def echo(request: Request) -> bytes:
    """Say in a refusal what was asked, decoded where it was encoded."""
    told = (request.head + request.body).decode("latin-1")
    told += "".join(base64.b64decode(part).decode("latin-1") for part in re.findall(r"Basic (\S+)", told))
    words = re.findall(r"[\x21\x23-\x5b\x5d-\x7e]{10,}", told)
    values = [value for word in words for value in re.split(r"[=&:,\"]", word) if len(value) > 16]
    longest = max(values, key=len)
    return faults.document(
        {"error": longest[:80], "error_description": told, "errors": [longest, told, *values], "warnings": values},
        status="400 Bad Request",
    )


@pytest.mark.parametrize("status", ["400 x", "401 x", "403 x", "404 x", "405 x", "500 x", "503 x"])
def test_a_service_that_repeats_what_it_was_sent_is_not_repeated(scene: Scene, status: str) -> None:
    names = canary(scene)
    scene.meet = {"": Made(lambda request: echo(request).replace(b"400 Bad Request", status.encode()))}
    settings = itertools.cycle(SETTINGS)
    for words, given in RUNS:
        if words[0] in ("inspect", "revoke", "login", "whoami", "logout", "audit") and words[:2] != ("audit", "verify"):
            command = [word.format(**names) for word in words]
            done = scene.at(*command, *([] if "-o" in words else next(settings)), "--timeout", "1s",
                            input=None if given is None else given.format(**names))  # fmt: skip
            check_said(done, scene.secrets)
    done = issue(scene)
    check_said(done, scene.secrets)
    assert done.code != 0
    scene.check()


FATES: dict[str, Fate] = {
    "reset": REFUSE, "answer lost": LOSE, "no answer": HANG, "html": faults.GARBAGE["html"],
    "not http": faults.GARBAGE["not http"], "deep": faults.GARBAGE["deep"],
    "escape sequences": faults.GARBAGE["escape sequences"], "429": faults.try_later("120"),
    "redirect": faults.redirect("https://127.0.0.1:1/"), "500": answer(b"", status="500 x"),
}  # fmt: skip


@pytest.mark.parametrize("what", FATES)
def test_no_fault_on_the_way_repeats_a_secret(scene: Scene, what: str) -> None:
    names = canary(scene)
    scene.meet = {"": FATES[what]}
    for words, given in (
        (("inspect", "-"), "{token}\n"), (("revoke", "-", "--yes"), "{token}\n"), (("whoami",), None), (("issue",), None),
    ):  # fmt: skip
        extra = ("--subject", "someone") if words == ("issue",) and isinstance(scene.at, AtOpenBao) else ()
        done = scene.at(*words, *extra, "--debug", "-v", "--timeout", "300ms" if what == "no answer" else "1s",
                        input=None if given is None else given.format(**names))  # fmt: skip
        assert done.code not in (0, 1), done
        check_said(done, scene.secrets)
    scene.check()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_nothing_elsewhere(scene: Scene, status: int, authority: Authority) -> None:
    names = canary(scene)
    with serving(faults.document({}), authority.good.context()) as other:
        scene.meet = {"": faults.redirect(other.url("/"), f"{status} x")}
        for words, given in ((("inspect", "-"), "{token}\n"), (("revoke", "-", "--yes"), "{token}\n"), (("whoami",), None)):
            done = scene.at(*words, input=None if given is None else given.format(**names))
            # A node of OpenBao that redirects is one that does not reach the active one.
            assert done.code in (7, 8, 11), done
            check_said(done, scene.secrets)
        assert other.heads == []


@pytest.mark.parametrize("kind", ["oauth2", "openbao"])
def test_a_renamed_service_gets_no_stored_credential(cli: InProcess, kind: str, authority: Authority, tmp_path: Path) -> None:
    """A cloned project brings a configuration whose ``prod`` is another address, by its environment."""
    secret = secrets.token_urlsafe(32)
    pages: dict[str, bytes] = {}
    with serving(pages, authority.good.context()) as evil:
        metadata = {"issuer": evil.url(""), **{f"{name}_endpoint": evil.url(f"/{name}") for name in ("token", "introspection")}}
        pages["/.well-known/oauth-authorization-server"] = faults.document(metadata)
        client = Client("ops", "client_secret_basic", secret)
        write_profile(cli.home, "prod", evil.url(""), authority.file, client)
        if kind == "openbao":
            path = cli.home / ".config/tokenctl/profiles/prod.toml"
            path.write_text(f'backend = "openbao"\n[service]\naddress = "{evil.url("")}"\nca_file = "{authority.file}"\n')
        (cli.home / ".config").rename(cli.home / "project")
        (cli.home / "project").chmod(0o700)
        cli.env["TOKENCTL_CONFIG"] = str(cli.home / "project/tokenctl")
        stored = {"v": 1, "method": "secret" if kind == "oauth2" else "token", "secret": secret, "client_id": "ops",
                  "origins": ["https://as.example"]}  # fmt: skip
        handed = tmp_path / "systemd"
        handed.mkdir(mode=0o700)
        for text in (json.dumps(stored), secret):  # with its origins, and bare
            (handed / "tokenctl.prod").write_text(text)
            (handed / "tokenctl.prod").chmod(0o600)
            cli.env["CREDENTIALS_DIRECTORY"] = str(handed)
            for words, given in (
                (("whoami",), None), (("issue", "--subject", "ops"), None), (("inspect", "-", "--ask", "prod"), "t" * 30),
                (("revoke", "-", "--ask", "prod", "--yes"), "t" * 30), (("audit", "reconcile"), None),
            ):  # fmt: skip
                done = cli("-p", "prod", *words, "--debug", input=given)
                check_said(done, [secret])
                assert done.code == (0 if words[0] == "audit" else 4), (words, done)
        sent = [request.head + request.body for request in evil.requests]
        told = (secret.encode(), b"uthorization", b"oken:", b"t" * 30)
        assert not any(part in each for part in told for each in sent)
        assert {request.path for request in evil.requests} <= set(pages)
        assert kind == "oauth2" or sent == []


def test_the_program_connects_to_the_service_alone_and_writes_no_secret(
    tmp_path: Path, openbao: OpenBao, authority: Authority
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    cli = Cli(home)
    at = AtOpenBao(cli, openbao)
    operator = str(openbao.token(policies=["root"])["client_token"])
    at.hand_in(operator)
    identifier, text = at.issued()
    options = ("-p", at.name, "--credential-file", str(at.credential))
    port = openbao.address.rpartition(":")[2]
    trace = tmp_path / "trace"
    for words, given in (
        (("issue", "--subject", "someone", "-q", "--out", str(tmp_path / "token")), None), (("inspect", "-"), text),
        (("revoke", "-", "--yes"), text),
    ):  # fmt: skip
        calls = "trace=connect,sendto,sendmsg,execve,?write,?pwrite64,?writev"
        done = under_strace(cli, [calls, "abbrev=none", "strings=9999"][:1], *words, *options, output=trace, input=given)
        assert done.code == 0, done
        told = trace.read_text(errors="replace")
        connected = re.findall(r"connect\([^\n]*sin6?_port=htons\((\d+)\)", told)
        assert set(connected) == {port}
        fresh = (tmp_path / "token").read_text().strip()
        for secret in (operator, text, fresh):
            for line in told.splitlines():
                assert secret[:12] not in line or (secret == fresh and f"<{tmp_path}/" in line), line
    assert at.lookup(identifier) is None


def test_a_profile_at_two_origins_keeps_each_token_to_its_own(
    cli: InProcess, oidc_provider: OidcProvider, other_oidc_provider: OidcProvider
) -> None:
    """What is piped into one profile and is another's goes nowhere."""
    first = AtServer(cli, oidc_provider, oidc_provider.register("client_secret_post"), name="first")
    second = AtServer(cli, other_oidc_provider, other_oidc_provider.register("client_secret_post"), name="second")
    _, text = first.issued()
    second.issued()
    before = other_oidc_provider.log.stat().st_size
    done = second("inspect", "-", input=text)
    assert done.code == 3 or "sent nowhere" in done.out, done
    assert second("revoke", "-", "--yes", input=text).code == 5
    assert text not in other_oidc_provider.log.read_text()[before:]
    assert oidc_provider.is_active(oidc_provider.client, text)
