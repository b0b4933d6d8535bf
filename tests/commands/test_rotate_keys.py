"""``rotate-keys status`` and ``jwks``: the keys as anyone may see them."""

from __future__ import annotations

import json
import stat

import pytest


def test_before_the_first_jwt_there_is_no_key(cli):
    assert cli("rotate-keys", "status") == cli("rotate-keys", "status", "-q")
    assert (cli("rotate-keys", "status").code, cli("rotate-keys", "status").out) == (0, "")
    assert (cli("rotate-keys", "jwks").code, cli("rotate-keys", "jwks").json) == (0, {"keys": []})
    assert list(cli.home.iterdir()) == []


def test_status_tells_each_key(cli):
    cli.token("--format", "jwt", "--audience", "a")
    cli.token("--format", "jwt", "--audience", "a")
    document = cli("rotate-keys", "status", "-o", "json").json
    assert set(document) >= {"keys", "did", "due", "next", "blocked_by"}
    (key,) = document["keys"]
    assert set(key) == {"kid", "alg", "state", "since", "tokens", "retire_after"}
    assert (key["alg"], key["state"], key["tokens"]) == ("ES256", "active", 2)
    assert (len(key["kid"]), key["kid"][0] != "-") == (22, True)
    assert cli("rotate-keys", "status").out == f"{key['kid']}\tES256\tactive\t{key['since']}\t2\n"
    assert cli("rotate-keys", "status", "-o", "jsonl").lines == [key]


@pytest.mark.parametrize(
    ("algorithm", "members"),
    [("ES256", {"crv", "x", "y"}), ("EdDSA", {"crv", "x"}), ("RS256", {"n", "e"}), ("PS256", {"n", "e"})],
)
def test_the_key_set_holds_public_members_only(cli, algorithm, members):
    cli.token("--audience", "a", "--algorithm", algorithm)
    (key,) = cli("rotate-keys", "jwks").json["keys"]
    assert set(key) == {"kty", "kid", "alg", "use"} | members
    assert (key["alg"], key["use"]) == (algorithm, "sig")


def test_the_key_set_is_written_for_others_to_read(cli):
    cli.token("--format", "jwt", "--audience", "a")
    done = cli("rotate-keys", "jwks", "--out", "jwks.json")
    path = cli.home / "jwks.json"
    assert (done.code, done.out, done.err) == (0, "", "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert json.loads(path.read_text()) == cli("rotate-keys", "jwks").json
    assert cli("rotate-keys", "jwks", "--out", "jwks.json").code == 0
    path.unlink()
    path.symlink_to("elsewhere")
    planted = cli("rotate-keys", "jwks", "--out", "jwks.json")
    assert (planted.code, planted.out) == (2, "")
    assert not (cli.home / "elsewhere").exists()
