"""S5, personal tokens: per-owner limits, expiry required, self-service list and revoke, usage seen."""

from __future__ import annotations

import json

POLICY = """
[[rule]]
name = "personal"
subject = "*"
kinds = ["personal"]
owners = ["alice", "bob"]
scopes = ["repo:read", "repo:write"]
max_lifetime = "30d"
limit_per_owner = 3
require = ["ttl", "note"]

[[rule]]
name = "work"
subject = "ci-*"
kinds = ["access"]
scopes = ["deploy:*"]
"""


def test_personal_tokens_from_the_first_to_the_last(cli):
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True)
    path.write_text(POLICY)
    path.chmod(0o600)

    def ask(owner, *more):
        return cli("issue", "--kind", "personal", "--subject", f"{owner}-laptop", "--owner", owner, "--scope", "repo:read", *more)

    # An expiry is required, and so is what it is for; the refusal names both.
    lacking = ask("alice")
    assert (lacking.code, lacking.out) == (12, "")
    assert "rule personal: require: --note; rule personal: require: --ttl\n" in lacking.err
    long = ask("alice", "--ttl", "31d", "--note", "n")
    assert long.code == 12
    assert "rule personal: max-lifetime: a token of kind personal lives at most 30d\n" in long.err

    # Each owner has so many, and no more; another owner has as many again; a stranger has none.
    tokens = [ask("alice", "--ttl", "7d", "--note", f"number {number}").out.strip() for number in range(3)]
    assert all(token.startswith("tkc_pat_") for token in tokens)
    full = ask("alice", "--ttl", "7d", "--note", "one more")
    assert (full.code, full.out) == (12, "")
    assert "rule personal: limit-per-owner: alice has 3 living tokens of at most 3\n" in full.err
    assert ask("bob", "--ttl", "7d", "--note", "n").code == 0
    stranger = ask("carol", "--ttl", "7d", "--note", "n")
    assert stranger.code == 12
    assert "no-rule: no rule is for subject carol-laptop, kind personal, owner carol" in stranger.err
    work = cli("issue", "--subject", "ci-1", "--owner", "alice", "--scope", "deploy:write")
    assert work.code == 0  # what is no personal token does not count

    # A gateway accepts two of them; the owner sees which, when, and which was never used.
    for token, times in ((tokens[0], 2), (tokens[1], 1)):
        for _ in range(times):
            assert cli("inspect", "-", "--use", "--scope", "repo:read", "-q", input=token).code == 0
    assert cli("inspect", "-", "--use", "--scope", "repo:write", "-q", input=tokens[2]).code == 3
    mine = cli("list", "--owner", "alice", "--kind", "personal", "-o", "json").json["tokens"]
    ids = [cli.id_of(token) for token in tokens]
    uses = {row["id"]: (row["uses"], row["last_used_at"] is not None) for row in mine}
    assert uses == {ids[0]: (2, True), ids[1]: (1, True), ids[2]: (0, False)}
    assert {row["owner"] for row in mine} == {"alice"}
    assert all(row["expires_at"] for row in mine)
    unused = cli("list", "--owner", "alice", "--kind", "personal", "--never-used")
    assert [line.split("\t")[0] for line in unused.out.splitlines()] == [ids[2]]

    # They revoke what they do not use, and have room again; the others go on.
    gone = cli("revoke", "-", "--reason", "unused", "--yes", input=unused.out)
    assert gone.code == 0
    assert cli("inspect", "-", "--any-audience", "-q", input=tokens[2]).code == 3
    assert cli("inspect", "-", "--any-audience", "-q", input=tokens[0]).code == 0
    assert ask("alice", "--ttl", "7d", "--note", "again").code == 0
    assert ask("alice", "--ttl", "7d", "--note", "too many", "-n").code == 12

    # An owner who leaves takes all of theirs along, and nobody else's.
    left = cli("revoke", "--owner", "alice", "--kind", "personal", "--reason", "owner_left", "--yes", "-o", "json")
    assert left.code == 0
    assert cli("list", "--owner", "alice", "--kind", "personal").out == ""
    assert len(cli("list", "--owner", "bob").out.splitlines()) == 1

    # All of it is in the log: every refusal with its reason, under one policy.
    records = [json.loads(line) for line in cli("audit", "log", "-o", "jsonl").out.splitlines()]
    refusals = [record["reason"] for record in records if record["operation"] == "token.deny"]
    assert refusals == ["personal/require", "personal/max-lifetime", "personal/limit-per-owner", "no-rule"]
    assert len({record["policy"] for record in records if record["operation"] in ("token.issue", "token.deny")}) == 1
    assert [record["operation"] for record in records[:2]] == ["store.create", "store.policy"]
    assert cli("audit", "verify").code == 0
