"""``inspect``: whether a token is accepted, and why not; it writes nothing but what ``--use`` spends."""

from __future__ import annotations

import base64
import json
import os
import time
from zlib import crc32

import pytest
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jwt as jwcrypto_jwt

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
SECOND, MINUTE = 1000, 60_000
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def base62(number, length):
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def with_checksum(body):
    return body + base62(crc32(body.encode()), 6)


def presented(cli, text, *arguments):
    return cli("inspect", "-", *arguments, "-o", "json", input=text)


def checks(answer):
    """Return the failed checks of an answer as name → detail."""
    return {check["name"]: check["detail"] for check in answer["checks"] if check["ok"] is False}


def files_of(cli):
    return {
        path: path.read_bytes()
        for path in sorted(cli.home.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


# Ways to present a token


def test_a_token_is_named_or_presented_in_every_way(cli):
    token = cli.token()
    identifier = cli.id_of(token)
    (cli.home / "t").write_text(f"{token}\n")
    for arguments, given in (
        ((identifier,), None),
        ((f"tkc_at_{identifier}",), None),
        (("-",), token),
        (("-",), f"{token}\r\n"),
        (("-",), f"  {token}  "),
        (("-",), f"Bearer {token}"),
        (("-",), f"Authorization: Bearer {token}\n"),
        (("-",), identifier),
        (("--file", "t"), None),
        (("-",), json.dumps({"id": identifier, "subject": "x"})),
    ):
        done = cli("inspect", *arguments, "-o", "json", input=given)
        assert (done.code, done.err, done.json["id"], done.json["active"]) == (0, "", identifier, True), (arguments, given)
    descriptor = os.open(cli.home / "t", os.O_RDONLY)
    done = cli("inspect", "--fd", str(descriptor), "-o", "json", pass_fds=(descriptor,))
    os.close(descriptor)
    assert (done.code, done.json["id"]) == (0, identifier)


def test_an_active_token_reads_like_this(cli):
    token = cli.token("--scope", "deploy:write", "--owner", "alice")
    done = cli("inspect", "-", input=token)
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert lines[0].startswith("active, 14m ")
    assert f"  id        {cli.id_of(token)} (access, opaque)" in lines
    assert "  subject   someone                owner     alice" in lines
    assert "  scope     deploy:write           audience  -" in lines
    assert "  last use  never seen by this store; uses 0" in lines
    assert "  profile   local (local, ~/.local/share/tokenctl/local/store.db)" in lines
    assert "  checks    form ok, known ok, time ok, state ok" in lines
    assert "finding     no-audience: every service that asks this store accepts it" in lines


def test_a_revoked_token_says_when_why_and_by_whom(cli):
    token = cli.token()
    identifier = cli.id_of(token)
    assert cli("revoke", identifier, "--reason", "compromised", "--ticket", "INC-1", "--note", "in a log", "--yes").code == 0
    done = presented(cli, token)
    assert (done.code, done.err, done.json["active"], done.json["state"]) == (3, "", False, "revoked")
    revoked = done.json["revoked"]
    assert (revoked["reason"], revoked["note"], revoked["ticket"]) == ("compromised", "in a log", "INC-1")
    assert revoked["at"].endswith("Z")
    assert revoked["by"]
    assert checks(done.json) == {"state": "revoked"}
    text = cli("inspect", identifier)
    assert text.code == 3
    assert text.out.startswith("not active: revoked ")
    assert "(compromised, INC-1)\n" in text.out
    assert f"  revoked   {revoked['at'][:10]} " in text.out
    assert f" by {revoked['by']}\n" in text.out
    assert text.out.endswith(f"  next      python -m tokenctl audit show {identifier}\n")


def test_several_tokens_are_answered_each(cli):
    first, second = cli.token(), cli.token()
    cli("revoke", cli.id_of(second), "--yes")
    ids = [cli.id_of(first), cli.id_of(second)]
    done = cli("inspect", *ids, "-o", "json")
    assert (done.code, [token["active"] for token in done.json["tokens"]]) == (3, [True, False])
    lines = cli("inspect", "-", "-o", "jsonl", input=f"{first}\n\n{second}\n")
    assert (lines.code, [token["id"] for token in lines.lines]) == (3, ids)
    text = cli("inspect", *ids)
    assert text.code == 3
    assert text.out.count("\n\n") == 1
    quiet = cli("inspect", *ids, "-q")
    assert (quiet.code, quiet.out) == (3, "")
    assert cli("inspect", ids[0], "-q").code == 0


def test_an_unknown_id_names_the_place_and_the_other_profiles(cli):
    token = cli.token()
    cli("profile", "add", "staging")
    done = cli("inspect", UNKNOWN)
    assert (done.code, done.out) == (5, "")
    assert done.err == (
        f"tokenctl: no token {UNKNOWN} in profile local (local, ~/.local/share/tokenctl/local/store.db)\n"
        "hint: other profiles: staging (choose one with --profile)\n"
    )
    machine = cli("inspect", UNKNOWN, "-o", "json")
    assert (machine.code, machine.out) == (5, "")
    error = json.loads(machine.err)
    assert (error["error"], error["reason"], error["exit_code"], error["profile"]) == ("not_found", "unknown_id", 5, "local")
    assert cli("inspect", UNKNOWN, cli.id_of(token)).code == 5
    cli("revoke", cli.id_of(token), "--yes")
    assert cli("inspect", UNKNOWN, cli.id_of(token)).code == 3


def test_an_absent_id_and_a_wrong_secret_get_the_same_answer(cli):
    token, other = cli.token(), cli.token()
    body = f"{token.rsplit('_', 1)[0]}_{other.split('_')[3][:43]}"
    absent = f"tkc_at_{UNKNOWN}_{other.split('_')[3][:43]}"
    answers = [presented(cli, with_checksum(text)) for text in (body, absent)]
    assert answers[0].out == answers[1].out
    assert (answers[0].code, answers[0].err, answers[0].json["id"]) == (3, "", None)
    assert checks(answers[0].json) == {"known": "no token of this profile has this secret"}
    texts = [cli("inspect", "-", input=with_checksum(text)) for text in (body, absent)]
    assert texts[0] == texts[1]


def test_a_mistyped_token_is_told_from_an_unknown_one(cli):
    token = cli.token()
    for text in (token[:-1] + ("0" if token[-1] != "0" else "1"), token[:-1], token + "0", token.replace("tkc_at", "tkc_pat")):
        done = presented(cli, text)
        assert (done.code, list(checks(done.json))) == (3, ["form"])
    beyond = [f"tkc_at_{UNKNOWN}_{'z' * 43}", f"tkc_at_{'z' * 22}_{'0' * 43}"]
    for text in beyond:
        done = presented(cli, with_checksum(text))
        assert (done.code, checks(done.json)) == (3, {"form": "a value beyond its range"})


# --use


def test_use_counts_and_spends(cli):
    token = cli.token("--max-uses", "2")
    for uses in (1, 2):
        done = presented(cli, token, "--use")
        assert (done.code, done.json["active"], done.json["uses"]) == (0, True, uses)
        assert done.json["last_used_at"] is not None
    third = presented(cli, token, "--use")
    assert (third.code, third.json["active"], third.json["state"], third.json["uses"]) == (3, False, "spent", 2)
    uses = cli("audit", "log", "--operation", "token.use", "-o", "jsonl").lines
    assert [record["target"] for record in uses] == [cli.id_of(token)] * 2
    assert cli("audit", "verify").code == 0
    assert cli("list", "--state", "spent", "-o", "jsonl").lines[0]["max_uses"] == 2


def test_use_of_an_unlimited_token_is_counted_without_a_record(cli):
    token = cli.token()
    assert presented(cli, token, "--use").json["uses"] == 1
    assert presented(cli, token, "--use").json["uses"] == 2
    assert cli("audit", "log", "--operation", "token.use").out == ""
    assert cli("list", "--never-used").out == ""
    assert cli("audit", "verify").code == 0


def test_a_use_that_is_refused_spends_nothing(cli):
    token = cli.token("--max-uses", "1", "--audience", "a")
    assert presented(cli, token, "--use").code == 3
    assert presented(cli, token, "--use", "--audience", "b").code == 3
    assert presented(cli, token, "--use", "--audience", "a", "--scope", "x").code == 3
    assert presented(cli, token, "--use", "--audience", "a").code == 0


def test_use_wants_a_presented_token(cli):
    token = cli.token()
    identifier = cli.id_of(token)
    for arguments, given in (((identifier, "--use"), None), (("-", "--use"), identifier), (("-", "--use", "--offline"), token)):
        done = cli("inspect", *arguments, input=given)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("tokenctl: --use ")
    assert cli("inspect", identifier, "-o", "json").json["uses"] == 0


def test_inspect_writes_nothing(cli):
    token = cli.token("--max-uses", "1")
    jwt = cli.token("--format", "jwt", "--audience", "a")
    before = files_of(cli)
    for text in (token, jwt, UNKNOWN, "rubbish"):
        presented(cli, text, "--any-audience")
        presented(cli, text, "--offline")
    assert files_of(cli) == before


def test_inspect_makes_no_store(cli):
    done = cli("inspect", "-", input=with_checksum(f"tkc_at_{UNKNOWN}_{'0' * 43}"))
    assert done.code == 3
    assert cli("inspect", UNKNOWN).code == 5
    assert list(cli.home.iterdir()) == []


# Demands


def test_offline_checks_form_and_checksum_alone(cli):
    token = cli.token()
    cli("revoke", cli.id_of(token), "--yes")
    done = presented(cli, token, "--offline")
    assert (done.code, done.json["state"], done.json["active"]) == (11, "not_checked", None)
    assert presented(cli, token[:-1] + "!", "--offline").code == 3
    jwt = cli.token("--format", "jwt", "--audience", "a")
    ours = presented(cli, jwt, "--offline", "--audience", "a")
    assert (ours.code, ours.json["state"], ours.json["signature"]) == (11, "not_checked", "valid")
    broken = presented(cli, jwt[:-4] + "AAAA", "--offline", "--audience", "a")
    assert (broken.code, broken.json["active"], broken.json["signature"]) == (3, False, "invalid")


def test_valid_for_asks_how_long_it_lasts(cli):
    token = cli.token("--ttl", "10m")
    jwt = cli.token("--ttl", "10m", "--format", "jwt", "--audience", "a")
    for text in (token, jwt):
        assert presented(cli, text, "--any-audience", "--valid-for", "9m").code == 0
        done = presented(cli, text, "--any-audience", "--valid-for", "11m")
        assert (done.code, list(checks(done.json))) == (3, ["valid_for"])
    assert cli("inspect", cli.id_of(token), "--valid-for", "9m").code == 0
    assert cli("inspect", cli.id_of(token), "--valid-for", "11m").code == 3
    for given in ("9", "-9m", "1y", "0s"):
        assert cli("inspect", cli.id_of(token), "--valid-for", given).code == 2


@pytest.mark.parametrize("format_", ["opaque", "jwt"])
def test_a_token_for_somebody_is_not_accepted_for_nobody(cli, format_):
    token = cli.token("--format", format_, "--audience", "api.example", "--audience", "b")
    unasked = presented(cli, token)
    assert (unasked.code, unasked.json["active"], list(checks(unasked.json))) == (3, False, ["not_asked"])
    assert presented(cli, token, "--audience", "api.example").code == 0
    assert presented(cli, token, "--audience", "x", "--audience", "b").code == 0
    assert presented(cli, token, "--any-audience").code == 0
    other = presented(cli, token, "--audience", "x")
    assert (other.code, list(checks(other.json))) == (3, ["audience"])
    assert cli("inspect", "-", "--audience", "x", "--any-audience", input=token).code == 2


@pytest.mark.parametrize("format_", ["opaque", "jwt"])
def test_a_scope_that_is_demanded_must_be_granted(cli, format_):
    token = cli.token("--format", format_, "--audience", "a", "--scope", "read", "--scope", "write")
    assert presented(cli, token, "--audience", "a", "--scope", "read", "--scope", "write").code == 0
    done = presented(cli, token, "--audience", "a", "--scope", "read", "--scope", "admin")
    assert (done.code, list(checks(done.json))) == (3, ["scope"])


def test_every_failed_check_is_named(cli):
    token = cli.token("--audience", "a", "--ttl", "1m")
    cli("revoke", cli.id_of(token), "--yes")
    done = presented(cli, token, "--audience", "b", "--scope", "x", "--valid-for", "1h")
    assert (done.code, set(checks(done.json))) == (3, {"state", "audience", "scope", "valid_for"})


def test_a_token_ends_at_its_second(cli):
    token = cli.token()
    ends = int(time.mktime(time.strptime(presented(cli, token).json["expires_at"], "%Y-%m-%dT%H:%M:%SZ"))) - time.timezone
    assert cli.at(ends * SECOND - 1, "inspect", "-", input=token).code == 0
    after = cli.at(ends * SECOND, "inspect", "-", "-o", "json", input=token)
    assert (after.code, after.json["state"], list(checks(after.json))) == (3, "expired", ["time"])


# JWTs


def claims_of(jwt):
    return json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256", "RS256"])
def test_other_libraries_verify_our_jwt_from_our_key_set(cli, algorithm):
    token = cli.token("--format", "jwt", "--algorithm", algorithm, "--audience", "api.example", "--scope", "a", "--scope", "b")
    text = cli("rotate-keys", "jwks").out
    decoded = joserfc_jwt.decode(token, KeySet.import_key_set(json.loads(text)), algorithms=[algorithm])
    assert decoded.header == {"alg": algorithm, "kid": json.loads(text)["keys"][0]["kid"], "typ": "at+jwt"}
    assert (decoded.claims["sub"], decoded.claims["aud"], decoded.claims["scope"]) == ("someone", "api.example", "a b")
    assert set(decoded.claims) == {"iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope"}
    checked = jwcrypto_jwt.JWT(jwt=token, key=jwcrypto_jwk.JWKSet.from_json(text), algs=[algorithm])
    assert json.loads(checked.claims) == decoded.claims
    answer = presented(cli, token, "--audience", "api.example").json
    assert (answer["active"], answer["signature"], answer["claims"]["jti"]) == (True, "valid", answer["id"])
    (cli.home / "jwks.json").write_text(text)
    foreign = presented(cli, token, "--audience", "api.example", "--jwks", "jwks.json")
    assert (foreign.code, foreign.json["signature"], foreign.json["active"]) == (0, "valid", True)


def test_a_jwt_of_ours_has_the_state_of_the_store(cli):
    token = cli.token("--format", "jwt", "--audience", "a")
    done = presented(cli, token, "--audience", "a")
    assert (done.code, done.json["signature"], done.json["use_tracking"]) == (0, "valid", "none")
    assert done.json["header"]["typ"] == "at+jwt"
    assert done.json["claims"] == claims_of(token)
    assert done.json["findings"] == []
    outcome = cli("revoke", done.json["id"], "--yes", "-o", "json").json["targets"][0]
    assert outcome["offline_until"] == done.json["expires_at"]
    dead = presented(cli, token, "--audience", "a")
    assert (dead.code, dead.json["signature"], dead.json["state"], checks(dead.json)) == (
        3,
        "valid",
        "revoked",
        {"state": "revoked"},
    )


def test_every_change_of_a_jwt_is_seen(cli):
    token = cli.token("--format", "jwt", "--audience", "a")
    head, payload, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    claims = base64.urlsafe_b64encode(json.dumps(claims_of(token) | {"sub": "root"}).encode()).decode().rstrip("=")
    for text in (
        f"{head}.{claims}.{signature}",
        f"{head}.{payload}.{signature[::-1]}",
        f"{none}.{payload}.",
        f"{none}.{payload}.{signature}",
        f"{head}.{payload}.",
        f"{head}.{payload}",
        f"{token}.x",
        f"{token}=",
        f"{head}.{payload}.{signature[:-1]}",
        f"{token}\x00",
    ):
        done = presented(cli, text, "--audience", "a")
        assert (done.code, done.json["active"], done.err) == (3, False, ""), text
        assert done.json["signature"] != "valid"


def test_a_jwt_of_somebody_is_decoded_and_not_accepted(cli):
    cli.token()
    parts = [{"alg": "ES256", "typ": "JWT"}, {"iss": "https://other", "sub": "eve\x1b[31m", "exp": 4_000_000_000}]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".AAAA"
    done = presented(cli, text)
    assert (done.code, done.json["active"], done.json["signature"]) == (3, False, "not_checked")
    assert done.json["claims"]["sub"] == "eve\x1b[31m"
    screen = cli("inspect", "-", input=text)
    assert screen.code == 3
    assert "UNVERIFIED" in screen.out
    assert "eve\\x1b[31m" in screen.out
    assert "\x1b" not in screen.out


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "x" * 300_000, '{"keys":[{"kty":"oct"}]}'])
def test_a_key_set_that_cannot_be_used_is_named(cli, content):
    if content is not None:
        (cli.home / "keys").write_text(content)
    done = cli("inspect", "-", "--jwks", "keys", input="e30.e30.AAAA")
    assert done.code in (2, 3)
    assert done.code == 3 or (done.out == "" and done.err.startswith("tokenctl: "))


# Bad input


@pytest.mark.parametrize(
    "given",
    [
        b"x" * (1024 * 1024),
        b"\0" * 100,
        b"a\0b\n",
        b"\xff\xfe\xc0",
        b"tkc_at_" + b"\xff" * 72,
        b"." * 5000,
        b"ey" * 40_000,
        b"\x1b]0;title\x07",
        b"{" * 10_000,
        b'{"id": 5}',
        b'{"id": null}',
        "\u202etkc".encode(),
        b"[" * 100_000,
        b"eyJhbGciOiJFUzI1NiJ9." + b"A" * 70_000 + b".AAAA",
    ],
    ids=range(14),
)
def test_anything_on_stdin_is_answered_with_no(cli, given):
    cli.token()
    for output in ("text", "json"):
        done = cli("inspect", "-", "-o", output, input=given)
        assert done.code in (2, 3), (done.out[:200], done.err[:200])
        assert "Traceback" not in done.err
        assert "\x1b" not in done.out + done.err
        assert "\u202e" not in done.out + done.err
        if done.code == 3:
            assert done.err == ""
        else:
            assert done.out == ""


def test_a_line_beyond_every_limit_is_refused(cli):
    done = cli("inspect", "-", input=b"x" * (2 * 1024 * 1024))
    assert (done.code, done.out) == (2, "")
    assert done.err == "tokenctl: standard input has a line longer than 1 MiB\n"


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("-",), b""),
        (("-",), b"\n \n"),
        ((), None),
        (("--file", "absent"), None),
        (("--file", "/"), None),
        (("--fd", "77"), None),
        (("--fd", "-1"), None),
        (("-", "--file", "x"), b"x"),
        (("nobody",), None),
        ((UNKNOWN + "x",), None),
        (("z" * 22,), None),
        (("-", "--leeway", "6m"), b"x"),
        (("-", "--leeway", "-1s"), b"x"),
        ((UNKNOWN, "--jwks", "x"), None),
        (("",), None),
    ],
)
def test_what_cannot_be_read_is_usage(cli, arguments, given):
    done = cli("inspect", *arguments, input=given)
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith("tokenctl: ")
    assert list(cli.home.iterdir()) == []


def test_what_is_denied_by_its_key_leads_with_that_whatever_was_not_asked(cli):
    made = cli("issue", "--subject", "s", "--format", "jwt", "--audience", "a", "-o", "json").json
    kid = made["kid"]
    assert cli("rotate-keys", "--compromised", str(kid)).code == 0
    for arguments, given in ((("-",), str(made["token"])), ((str(made["id"]),), "")):
        done = cli("inspect", *arguments, input=given)
        lines = done.out.splitlines()
        assert (done.code, lines[0]) == (3, f"not active: revoked: key {kid} compromised")
        (revoked,) = [number for number, line in enumerate(lines) if line.startswith("  revoked   20")]
        assert lines[revoked + 1] == f"  because   key {kid} compromised"
        assert lines[revoked + 2].startswith("  denied    by this store since 20")
    assert cli("inspect", str(made["id"]), "-o", "json").json["revoked"]["at"] is not None


def test_a_child_of_what_is_suspended_leads_with_that(cli):
    parent = cli.id_of(cli.token("--audience", "a"))
    child = cli.token("--audience", "a", "--parent", parent, "--ttl", "5m")
    assert cli("revoke", parent, "--suspend", "--yes", "-q").code == 0
    lines = cli("inspect", "-", input=child).out.splitlines()
    assert lines[0] == f"not active: suspended: parent {parent} suspended"
    assert f"  because   parent {parent} suspended" in lines
