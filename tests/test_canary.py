"""The canary: the secret part of a token leaves once, by issue's stdout; no output and no file ever holds it again.

Later verbs join by themselves: a verb of the grammar without arguments here is a failure.
"""

from __future__ import annotations

import itertools
import os
import re
from zlib import crc32

import pyrage
import pytest
import typer

from tokenctl.cli.app import VERBS, build

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
RECIPIENT = str(pyrage.x25519.Identity.generate().to_public())
# What each verb is run with: {token} {id} {jwt} {jwt_id}; the second part is its stdin.
RUNS: dict[str, list[tuple[tuple[str, ...], str | None]]] = {
    "issue": [
        (("issue", "--subject", "s", "--request-id", "canary"), None),
        (("issue", "--subject", "s", "--parent", "{id}", "--ttl", "1m", "-n"), None),
        (("issue", "--replace", "{id}", "--grace", "1h", "--request-id", "canary-2"), None),
        (("issue", "--replace", "{token}"), None),
        (("issue", "--replace", "{id}", "--grace", "{jwt}"), None),
        (("issue", "--subject", "{token}"), None),
        (("issue", "--subject", "s", "--ttl", "{token}"), None),
        (("issue", "--nonsense={token}"), None),
        (("issue", "--subject", "s", "--exchange", "-"), "{jwt}"),
        (("issue", "--subject", "s", "--exchange", "-"), "{jwt} {token}"),
        (("issue", "--subject", "s", "--exchange", "{jwt}"), None),
    ],
    "inspect": [
        (("inspect", "{id}"), None),
        (("inspect", "-", "--any-audience"), "{token}\n{jwt}\n"),
        (("inspect", "-"), "{token}x\n{token}.x.y\nx{token}\n{jwt}x\n{jwt}.x\n"),
        (("inspect", "-", "--offline"), "{token}\n{jwt}\n"),
        (("inspect", "-", "--use", "--any-audience"), "{token}\n{jwt}\n"),
        (("inspect", "-", "--jwks", "absent"), "{token}"),
        (("inspect", "{token}"), None),
        (("inspect", "x{token}"), None),
        (("inspect", "--file", "{token}"), None),
        (("inspect", "-p", "{token}", "-"), "{token}"),
    ],
    "list": [
        (("list", "--state", "all"), None),
        (("list", "--subject", "{token}"), None),
        (("list", "--after", "{jwt}"), None),
    ],
    "revoke": [
        (("revoke", "-", "-n"), "see {token} and {jwt}\n"),
        (("revoke", "-"), "{token}\n{jwt}\n"),
        (("revoke", "{token}", "--yes"), None),
        (("revoke", "-", "-n", "--out", "plan"), "see {token} and {jwt}\n"),
        (("revoke", "--plan", "plan", "-n"), None),
        (("revoke", "--plan", "{token}"), None),
        (("revoke", "--plan", "plan", "--expect", "{jwt}"), None),
        (("revoke", "{id}", "-n", "--out", "{jwt}"), None),
        (("revoke", "-", "--suspend", "--for", "1h", "--then", "lift", "--yes"), "{token}\n{jwt}\n"),
        (("revoke", "{id}", "--suspend", "--for", "{token}", "--then", "{jwt}"), None),
        (("revoke", "-", "--lift", "--keep-children"), "{token}"),
        (("revoke", "-", "--lift", "--yes"), "{token} {jwt}\n"),
        (("revoke", "--from", "{jwt}", "--yes"), None),
        (("revoke", "{id}", "--note", "leaked as {token}", "--yes"), None),
        (("revoke", "-", "--yes"), '{forged} {token}x\n{{"id": "{token}"}}\n{jwt}x\n'),
    ],
    "rotate-keys": [
        (("rotate-keys",), None),
        (("rotate-keys", "status"), None),
        (("rotate-keys", "jwks"), None),
        (("rotate-keys", "{token}"), None),
        (("rotate-keys", "rollback"), None),
        (("rotate-keys", "retire", "{jwt}"), None),
        (("rotate-keys", "--compromised", "{token}"), None),
        (("rotate-keys", "--verifier", "{jwt}", "--if-older-than", "{token}"), None),
        (("rotate-keys", "--if-older-than", "1s", "--unobserved"), None),
        (("rotate-keys", "--root"), None),
        (("rotate-keys", "--log-key"), None),
    ],
    "audit": [
        (("audit",), None),
        (("audit", "log"), None),
        (("audit", "show", "{id}"), None),
        (("audit", "show", "{jwt_id}"), None),
        (("audit", "show", "{token}"), None),
        (("audit", "show", "-", "-o", "jsonl"), "leaked: {token} and {jwt}\n"),
        (("audit", "show", "-"), "{forged}\n"),
        (("audit", "log", "--token", "-"), "{token}\n{jwt}\n{token}x\n{jwt}x\n"),
        (("audit", "log", "--token", "-", "--follow", "--timeout", "1s"), "{token}\n"),
        (("audit", "log", "--token", "{token}"), None),
        (("audit", "log", "--subject", "{jwt}"), None),
        (("audit", "log", "--ticket", "{token}", "--target", "{jwt}"), None),
        (("audit", "verify"), None),
        (("audit", "checkpoint"), None),
        (("audit", "checkpoint", "--key", "--out", "log.vkey"), None),
        (("audit", "checkpoint", "--out", "{token}"), None),
        (("audit", "show", "{id}", "--proof", "--disclose", "--out", "p.tlog-proof"), None),
        (("audit", "show", "{token}", "--proof"), None),
        (("audit", "show", "{id}", "--proof", "--out", "{jwt}"), None),
        (("audit", "verify", "--proof", "p.tlog-proof"), None),
        (("audit", "verify", "--proof", "{jwt}", "--key", "{token}"), None),
        (("audit", "review"), None),
        (("audit", "review", "-o", "sarif"), None),
        (("audit", "review", "--write-baseline", "known.json"), None),
        (("audit", "review", "--baseline", "known.json"), None),
        (("audit", "review", "--rule", "{token}"), None),
        (("audit", "review", "--fail-on", "{jwt}", "--baseline", "{token}"), None),
        (("audit", "reconcile"), None),
        (("audit", "reconcile", "-n"), None),
        (("audit", "verify", "--quick"), None),
        (("audit", "verify", "--known-head", "-"), "{token}\n\n{jwt}\n"),
        (("audit", "verify", "--known-head", "-"), "{token}\n3\n{jwt}\n\n\u2014 {token} {jwt}\n"),
        (("audit", "verify", "--known-head", "{token}"), None),
        (("audit", "verify", "--known-head", "-", "--key", "{jwt}"), "x"),
        (("audit", "verify", "--require-anchor"), None),
        (("audit", "log", "--since", "{token}"), None),
        (("audit", "log", "--raw"), None),
        (("audit", "archive", "--before", "{token}", "--out", "a"), None),
        (("audit", "archive", "--before", "now", "--out", "{jwt}", "--yes"), None),
        (("audit", "archive", "--before", "now", "--out", "a", "--yes"), None),
        (("audit", "verify", "--archive", "a"), None),
        (("audit", "verify", "--archive", "{token}"), None),
    ],
    "login": [
        (("login", "-"), "{token}"),
        (("login", "-", "--client-id", "{token}"), "{jwt}"),
        (("login", "{token}"), None),
        (("login", "--rotate", "-", "--yes"), "{token}"),
        (("login", "-p", "{jwt}", "-"), "{token}"),
    ],
    "logout": [
        (("logout",), None),
        (("logout", "--revoke"), None),
        (("logout", "{token}"), None),
    ],
    "whoami": [
        (("whoami",), None),
        (("whoami", "--credential-file", "{token}"), None),
        (("whoami", "{jwt}"), None),
    ],
    "profile": [
        (("profile", "list"), None),
        (("profile", "show"), None),
        (("profile", "add", "p1"), None),
        (("profile", "use", "p1"), None),
        (("profile", "use", "local"), None),
        (("profile", "remove", "p1", "--yes"), None),
        (("profile", "trust", "https://127.0.0.1:1/{token}"), None),
        (("profile", "trust", "https://127.0.0.1:1", "--remove"), None),
        (("profile", "add", "{token}"), None),
        (("profile", "show", "{jwt}"), None),
        (("profile", "add", "p2", "--issuer", "{token}"), None),
    ],
    "completion": [
        (("completion", "bash"), None),
        (("completion", "zsh"), None),
        (("completion", "fish"), None),
        (("completion", "{token}"), None),
    ],
    "store": [
        (("store", "release", "--reason", "r", "--yes"), None),
        (("store", "release", "--reason", "{token}", "--yes"), None),
        (("store", "info"), None),
        (("store", "backup", "b.age", "--recipient", RECIPIENT, "--yes"), None),
        (("store", "backup", "{token}", "--recipient", RECIPIENT), None),
        (("store", "backup", "b.age", "--recipient", "{jwt}"), None),
        (("store", "restore", "b.age", "--identity", "absent"), None),
        (("store", "restore", "-", "--passphrase-file", "{token}"), "{token}"),
        (("store", "restore", "-", "--yes"), "{token}"),
        (("store", "seal", "--reason", "{token}"), None),
        (("store", "seal", "--reason", "r"), None),
        (("store", "release", "--reason", "r", "--yes"), None),
        (("store", "accept-clock", "--reason", "{jwt}", "--yes"), None),
        (("store", "accept-clock", "--yes"), None),
        (("store", "move-secret", "file"), None),
        (("store", "move-secret", "keyring"), None),
        (("store", "move-secret", "{token}"), None),
    ],
    "doctor": [
        (("doctor",), None),
        (("doctor", "--strict"), None),
        (("doctor", "-p", "{token}"), None),
        (("doctor", "{token}"), None),
    ],
}
SETTINGS = [
    tuple(part for part in parts if part)
    for parts in itertools.product(("", "-ojson", "-ojsonl"), ("", "-v", "-q"), ("", "--debug"))
]


class Canary:
    """Tokens whose secret parts must never be seen again, and a check that they are not."""

    def __init__(self, cli) -> None:
        self.cli = cli
        self.token, other = cli.token("--ttl", "1h"), cli.token()
        self.jwt = cli.token("--ttl", "1h", "--format", "jwt", "--audience", "a")
        body = f"{self.token.rsplit('_', 1)[0]}_{other.split('_')[3][:43]}"
        self.forged = body + checksum(body)
        self.jwt_id = cli("inspect", "-", "--any-audience", "-ojson", input=self.jwt).json["id"]
        root = cli.root_secret.read_text().strip()
        self.issued = [self.token.split("_")[3], other.split("_")[3]]
        # A JWT is dead without its signature.
        self.secrets = [*self.issued, self.jwt.rsplit(".", 1)[1], root]
        self.binary = [*(secret.encode() for secret in self.secrets), bytes.fromhex(root)]

    def fill(self, text: str) -> str:
        return text.format(token=self.token, id=self.cli.id_of(self.token), jwt=self.jwt, jwt_id=self.jwt_id, forged=self.forged)

    def run(self, arguments, given, **options):
        """Run; fail where a secret is in an output. A token that issue printed is a canary from then on."""
        done = self.cli(*map(self.fill, arguments), input=None if given is None else self.fill(given), **options)
        for secret in self.secrets:
            for output in (done.out, done.err):
                # Also not cut short: a third of it would be a third of its strength.
                assert secret[:14] not in output, (arguments, output)
                assert secret[-14:] not in output, (arguments, output)
        assert done.code != 1, done.err
        fresh = re.findall(r"tkc_[a-z]+_[0-9A-Za-z]{22}_([0-9A-Za-z]{49})", done.out)
        assert not re.search(r"tkc_[a-z]+_[0-9A-Za-z]{22}_[0-9A-Za-z]{8}", done.err)
        if fresh:
            assert arguments[0] == "issue"
            self.secrets += fresh
            self.binary += [secret.encode() for secret in fresh]
        return done

    def check_files(self) -> None:
        seen = 0
        for path in self.cli.home.rglob("*"):
            if not path.is_file() or path == self.cli.root_secret:
                continue
            seen += 1
            data = path.read_bytes()
            for secret in self.binary:
                assert secret not in data, path
                assert secret[:16] not in data, path
        assert seen >= 2


def checksum(body: str) -> str:
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def test_every_verb_has_a_run_here():
    missing = set(VERBS) - set(RUNS)
    assert missing == set(), "give the new verb arguments in RUNS"
    for verb in VERBS:
        command = typer.main.get_command(build([verb]))
        inner = getattr(command, "commands", {}).get(verb, command)
        known = set(getattr(inner, "commands", {}))
        run = {arguments[1] for arguments, _ in RUNS[verb] if len(arguments) > 1}
        assert known <= run, f"{verb}: give its new sub-verbs arguments in RUNS"


@pytest.mark.parametrize("verb", list(VERBS))
def test_no_verb_repeats_a_secret(cli, verb):
    canary = Canary(cli)
    settings = itertools.cycle(SETTINGS)
    for arguments, given in RUNS.get(verb, []):
        for _ in range(5):  # neighbouring runs start elsewhere, so that every setting meets every verb
            canary.run((*arguments, *next(settings)), given)
        next(settings)
    canary.run((verb, "--help"), None)
    canary.check_files()


def break_store(cli):
    cli.store.write_bytes(cli.store.read_bytes()[:-3000])


def lose_root(cli):
    cli.root_secret.unlink()


def other_root(cli):
    cli.root_secret.write_text("0" * 64)


def rubbish_root(cli):
    cli.root_secret.write_bytes(b"\xff" * 65)


def open_root(cli):
    cli.root_secret.chmod(0o644)


def future_anchor(cli):
    data = cli.anchor.read_bytes()
    cli.anchor.write_bytes(data.replace(b'"size":', b'"size":9') if b'"size":' in data else b"999" + data)


FAULTS = (break_store, lose_root, other_root, rubbish_root, open_root, future_anchor)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_no_fault_repeats_a_secret(cli, fault):
    canary = Canary(cli)
    root = cli.root_secret.read_bytes()
    fault(cli)
    for arguments, given in (
        (("issue", "--subject", "s"), None),
        (("inspect", "-", "--any-audience"), "{token}\n{jwt}\n"),
        (("inspect", "-", "--use"), "{token}"),
        (("revoke", "-", "--yes"), "{token}\n{jwt}\n"),
        (("list",), None),
        (("audit", "verify"), None),
        (("rotate-keys", "jwks"), None),
    ):
        canary.run((*arguments, "--debug", "-v"), given)
    cli.root_secret.parent.mkdir(exist_ok=True)
    cli.root_secret.write_bytes(root)
    canary.check_files()


def test_no_failed_delivery_repeats_a_secret(cli):
    canary = Canary(cli)
    with open("/dev/full", "wb") as full:
        canary.run(("issue", "--subject", "s", "--debug"), None, stdout=full, stderr=-1)
    reader, writer = os.pipe()
    os.close(reader)
    canary.run(("issue", "--subject", "s", "--debug"), None, stdout=writer, stderr=-1)
    os.close(writer)
    canary.run(("issue", "--subject", "s", "--out", "no/such/place", "--debug"), None)
    canary.check_files()


def test_a_token_in_a_file_is_in_that_file_alone(cli):
    canary = Canary(cli)
    done = canary.run(("issue", "--subject", "s", "--out", "token", "--debug", "-v"), None)
    secret = (cli.home / "token").read_text().strip().split("_")[3]
    assert secret[:14] not in done.out + done.err
    holding = [path for path in cli.home.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert holding == [cli.home / "token"]
    canary.check_files()


def test_a_bug_of_ours_shows_no_secret(cli):
    canary = Canary(cli)
    code = (
        "import os, sys\n"
        "from tokenctl import process\n"
        "process.harden()\n"
        "from tokenctl.formats import opaque\n"
        "def broken(text): raise RuntimeError(text)\n"
        "opaque.parse = broken\n"
        "from tokenctl.cli.boundary import run\n"
        "sys.exit(run(sys.argv[1:], environment=os.environ, program='tokenctl'))\n"
    )
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "inspect", "-", "--debug"],
        env=cli.env,
        input=canary.token.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    assert b"tokenctl: a bug: RuntimeError\n" in done.stderr
    assert canary.issued[0].encode() not in done.stderr
