"""``revoke``: possession kills, naming does not; every target is answered for by one outcome and one code."""

from __future__ import annotations

import json
import re
import time
from zlib import crc32

import pytest

from tests.faults.conftest import change

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


def with_checksum(body):
    number, digits = crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return body + digits


def wrong_secret(cli, token):
    """Return the token with the secret of another and a good checksum."""
    return with_checksum(f"{token.rsplit('_', 1)[0]}_{cli.token().split('_')[3][:43]}")


def lives(cli, token):
    return cli("inspect", "-", "--any-audience", "-q", input=token).code == 0


def outcomes(done):
    return {target["id"]: target["outcome"] for target in done.json["targets"]}


def revoked(cli, text, *arguments):
    return cli("revoke", "-", "--yes", "-o", "json", *arguments, input=text)


# One target


def test_a_token_is_revoked_by_its_id(cli):
    token = cli.token("--label", "a=b")
    identifier = cli.id_of(token)
    done = cli("revoke", identifier, "--reason", "compromised", "--yes")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(rf"{identifier}\trevoked\twas active; denied, checked after \d+ ms\n", done.out)
    assert not lives(cli, token)
    again = cli("revoke", identifier, "--reason", "test", "--yes")
    assert (again.code, again.err) == (0, "")
    assert re.fullmatch(rf"{identifier}\talready_revoked\t{INSTANT.pattern}, by \S+, compromised\n", again.out)
    machine = cli("revoke", f"tkc_at_{identifier}", "--yes", "-o", "json")
    assert machine.code == 0
    document = machine.json
    assert set(document) == {"action", "profile", "request_id", "dry_run", "counts", "foreign", "targets", "warnings"}
    assert (document["action"], document["profile"], document["dry_run"]) == ("revoke", "local", False)
    assert (document["counts"], document["foreign"]) == ({"already_revoked": 1}, {})
    (target,) = document["targets"]
    assert set(target) == {
        "id",
        "outcome",
        "state_before",
        "at",
        "by",
        "reason",
        "offline_until",
        "children",
        "places",
        "probe",
        "detail",
    }
    assert (target["outcome"], target["state_before"], target["reason"]) == ("already_revoked", "revoked", "compromised")
    assert INSTANT.fullmatch(target["at"])
    assert len(cli("audit", "log", "--operation", "token.revoke", "-o", "jsonl").lines) == 1


def test_an_unknown_id_is_not_found(cli):
    cli.token()
    done = cli("revoke", UNKNOWN, "--yes")
    assert (done.code, done.out) == (5, f"{UNKNOWN}\tunknown\tnot in local\n")
    quiet = cli("revoke", UNKNOWN, "--yes", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (5, "", f"not denied: {UNKNOWN} unknown\n")
    assert cli("revoke", UNKNOWN, "--yes", "--ignore-not-found").code == 0
    cli("profile", "add", "staging")
    assert "; other profiles: staging (choose one with --profile)\n" in cli("revoke", UNKNOWN, "--yes").out


def test_nothing_is_made_where_there_is_no_store(cli):
    assert cli("revoke", UNKNOWN, "--yes").code == 5
    assert cli("revoke", "-", "--yes", input=f"{UNKNOWN}\n").code == 5
    assert cli("revoke", "--subject", "x", "--yes").code == 5
    assert list(cli.home.iterdir()) == []


def test_every_state_can_be_revoked(cli):
    expired, waiting = cli.token("--ttl", "1s"), cli.token("--not-before", "+1h")
    spent = cli.token("--max-uses", "1")
    cli("inspect", "-", "--use", input=spent)
    time.sleep(1.1)  # until the first has expired
    done = cli("revoke", *map(cli.id_of, (expired, waiting, spent)), "--yes", "-o", "json")
    assert done.code == 0
    assert [target["state_before"] for target in done.json["targets"]] == ["expired", "not_yet_valid", "spent"]
    assert set(outcomes(done).values()) == {"revoked"}


def test_children_die_with_their_parent(cli):
    parent = cli.token("--ttl", "1h")
    child = cli.token("--parent", cli.id_of(parent))
    grandchild = cli.token("--parent", cli.id_of(child), "--ttl", "5m")
    done = cli("revoke", cli.id_of(parent), "--yes", "-o", "json")
    assert (done.code, done.json["targets"][0]["children"]) == (0, 2)
    assert not lives(cli, child)
    assert not lives(cli, grandchild)
    assert cli("audit", "verify").code == 0


def family(cli):
    """Issue a parent, a child of it and a child of that; return their ids."""
    parent = cli.id_of(cli.token("--ttl", "1h"))
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "30m"))
    return parent, child, cli.id_of(cli.token("--parent", child, "--ttl", "5m"))


def states(cli, *ids):
    return [cli("inspect", identifier, "-o", "json").json["state"] for identifier in ids]


def test_kept_children_live_on_with_their_children(cli):
    parent, child, grandchild = family(cli)
    done = cli("revoke", parent, "--keep-children", "--yes")
    assert done.code == 0
    assert re.fullmatch(rf"{parent}\trevoked\twas active; denied, checked after \d+ ms; 2 children kept\n", done.out)
    assert states(cli, parent, child, grandchild) == ["revoked", "active", "active"]
    again = cli("revoke", parent, "--yes", "-o", "json")
    assert (again.code, again.json["targets"][0]["children"]) == (0, 0)
    assert again.json["targets"][0]["detail"] == f"its children were kept: python -m tokenctl revoke --parent {parent}"
    assert states(cli, child, grandchild) == ["active", "active"]
    assert cli("audit", "verify", "-q").code == 0
    assert cli("revoke", "--parent", parent, "--yes").code == 0
    assert states(cli, child, grandchild) == ["revoked", "revoked"]
    assert cli("audit", "verify", "-q").code == 0


def test_who_kept_its_children_shields_them_from_nobody_above(cli):
    parent, child, grandchild = family(cli)
    assert cli("revoke", child, "--keep-children", "--yes").code == 0
    assert states(cli, parent, child, grandchild) == ["active", "revoked", "active"]
    assert cli("revoke", parent, "--suspend", "--yes").code == 0
    assert states(cli, grandchild) == ["suspended"]
    done = cli("revoke", parent, "--yes", "-o", "json")
    assert (done.code, done.json["targets"][0]["children"]) == (0, 1)
    assert states(cli, grandchild) == ["revoked"]
    assert cli("audit", "verify", "-q").code == 0


def test_a_parent_and_its_child_named_together_are_both_revoked_now(cli):
    for order in (lambda ids: ids, reversed):
        ids = family(cli)
        done = cli("revoke", *order(list(ids)), "--yes", "-o", "json")
        assert (done.code, outcomes(done)) == (0, dict.fromkeys(ids, "revoked"))
        assert {target["state_before"] for target in done.json["targets"]} == {"active"}
    ids = family(cli)
    kept = cli("revoke", *ids[:2], "--keep-children", "--yes", "-o", "json")
    assert (kept.code, outcomes(kept)) == (0, dict.fromkeys(ids[:2], "revoked"))
    assert states(cli, ids[2]) == ["active"]
    assert cli("audit", "verify", "-q").code == 0


@pytest.mark.parametrize("kept", [True, False])
def test_a_changed_word_about_the_children_is_found(cli, kept):
    parent, child, _ = family(cli)
    assert cli("revoke", parent, "--yes", *(["--keep-children"] if kept else [])).code == 0
    change(cli.store, f"UPDATE token SET children_kept = {int(not kept)}, revoked_at = revoked_at WHERE id = '{parent}'")
    assert cli("inspect", child, "-q").code in (3, 10)
    verified = cli("audit", "verify")
    assert verified.code == 10
    assert f"token {parent}: its suspension, or what becomes of its children, differs" in verified.out + verified.err


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("compromised", "compromised"),
        ("leaked", "compromised"),
        ("superseded",) * 2,
        ("unused",) * 2,
        ("owner_left",) * 2,
        ("policy",) * 2,
        ("test",) * 2,
        ("other",) * 2,
    ],
)
def test_the_reasons(cli, given, kept):
    identifier = cli.id_of(cli.token())
    done = cli("revoke", identifier, "--reason", given, "--yes", "-o", "json")
    assert (done.code, done.json["targets"][0]["reason"]) == (0, kept)
    assert cli("inspect", identifier, "-o", "json").json["revoked"]["reason"] == kept


def test_faults_of_an_order_are_reported_together(cli):
    token = cli.token()
    done = cli("revoke", cli.id_of(token), "--reason", "because", "--note", "", "--ticket", "x" * 2000, "--yes")
    assert (done.code, done.out) == (2, "")
    for option in ("--reason: one of compromised", "--note: ", "--ticket: "):
        assert option in done.err
    assert lives(cli, token)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--yes",),
        ("nobody", "--yes"),
        (UNKNOWN[:-1], "--yes"),
        ("", "--yes"),
        (UNKNOWN, "--subject", "x", "--yes"),
        ("-", "--subject", "x", "--yes"),
        ("--state", "dead", "--yes"),
        ("--scope", "a*", "--yes"),
        ("--subject", "", "--yes"),
        ("--issued-after", "7d", "--yes"),
        ("--unused-for", "9", "--yes"),
        ("--from", "absent", "--yes"),
        (UNKNOWN, "--expect", "-1"),
        ("--parent", "x", "--yes"),
    ],
)
def test_an_order_that_names_nothing_clear_is_usage(cli, arguments):
    done = cli("revoke", *arguments, input="")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: ")
    assert list(cli.home.iterdir()) == []


# Confirmation, dry run, --expect


def test_without_a_way_to_ask_nothing_is_done(cli):
    token = cli.token()
    identifier = cli.id_of(token)
    for arguments in ((identifier,), (identifier, "--no-input"), ("--subject", "someone"), ("-",)):
        done = cli("revoke", *arguments, input=f"{identifier}\n")
        assert (done.code, done.out) == (2, "")
        assert done.err == ("tokenctl: not confirmed: nothing was revoked\nhint: add --yes to go on without the question\n")
    machine = cli("revoke", identifier, "-o", "json")
    assert (machine.code, machine.out, json.loads(machine.err)["reason"]) == (2, "", "not_confirmed")
    assert lives(cli, token)


def test_a_dry_run_wins_over_all(cli):
    token, dead = cli.token(), cli.token()
    cli("revoke", cli.id_of(dead), "--yes")
    before = cli("audit", "log").out
    done = cli("revoke", cli.id_of(token), cli.id_of(dead), UNKNOWN, "--dry-run", "--yes", "-q")
    assert done.code == 5
    lines = [line.split("\t") for line in done.out.splitlines()]
    assert [line[:2] for line in lines] == [
        [cli.id_of(token), "would be revoked"],
        [cli.id_of(dead), "already_revoked"],
        [UNKNOWN, "unknown"],
    ]
    assert lines[0][2] == "is active"
    assert cli("revoke", cli.id_of(token), "-n").code == 0
    machine = cli("revoke", cli.id_of(token), "-n", "-o", "json")
    assert (machine.code, machine.json["dry_run"]) == (0, True)
    assert lives(cli, token)
    assert cli("audit", "log").out == before


def test_expect_counts_what_would_come_out_as_revoked(cli):
    expired, spent, waiting = cli.token("--ttl", "1s"), cli.token("--max-uses", "1"), cli.token("--not-before", "+1h")
    cli("inspect", "-", "--use", input=spent)
    suspended, dead = cli.token(), cli.token()
    cli("revoke", cli.id_of(suspended), "--suspend", "--yes")
    cli("revoke", cli.id_of(dead), "--yes")
    time.sleep(1.1)
    ids = list(map(cli.id_of, (expired, spent, waiting, suspended, dead)))
    assert cli("revoke", *ids, "--expect", "5", "--yes").code == 6
    done = cli("revoke", *ids, "--expect", "4", "--yes", "-o", "json")
    assert (done.code, done.json["counts"]) == (0, {"revoked": 4, "already_revoked": 1})


def test_a_dry_run_of_everything_needs_no_number(cli):
    tokens = [cli.token(), cli.token()]
    done = cli("revoke", "--state", "all", "--dry-run")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert all(lives(cli, token) for token in tokens)


def test_a_document_beyond_the_limit_is_refused_before_anything_is_done(cli):
    token = cli.token()
    text = f'{token}\n{{\n"id": "{cli.id_of(token)}",\n'.encode() + b" \n" * 10 + (b"x" * 1_000_000 + b"\n") * 70
    done = cli("revoke", "-", "--yes", input=text)
    assert (done.code, done.out) == (2, "")
    assert "the JSON document in it is larger than 64 MiB" in done.err
    assert lives(cli, token)


def test_expect_holds_the_number(cli):
    tokens = [cli.token() for _ in range(3)]
    cli("revoke", cli.id_of(tokens[2]), "--yes")
    ids = list(map(cli.id_of, tokens))
    wrong = cli("revoke", *ids, "--expect", "3", "--yes")
    assert (wrong.code, wrong.out) == (6, "")
    assert wrong.err == "tokenctl: --expect 3, but 2 would be revoked: nothing was touched\n"
    assert lives(cli, tokens[0])
    assert cli("revoke", *ids, "--expect", "2", "--yes").code == 0
    assert not lives(cli, tokens[0])


def test_everything_at_once_needs_its_number(cli):
    tokens = [cli.token(), cli.token()]
    for arguments in (("--state", "active"), ("--state", "all")):
        done = cli("revoke", *arguments, "--yes", "-o", "json")
        assert (done.code, done.out, json.loads(done.err)["reason"]) == (2, "", "everything")
    assert all(lives(cli, token) for token in tokens)
    assert cli("revoke", "--state", "active", "--expect", "2", "--yes").code == 0
    assert not any(lives(cli, token) for token in tokens)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--subject", "*"), ("--subject", "***"), ("--subject", "ci", "--subject", "*"), ("--owner", "*"), ("--audience", "*"),
        ("--label", "*"), ("--label", "*=*"), ("--kind", "access", "--kind", "personal", "--kind", "service"),
        ("--format", "opaque", "--format", "jwt"), ("--subject", "*", "--owner", "*", "--state", "active"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_selector_that_fits_every_token_is_everything_too(cli, arguments):
    token = cli.token("--audience", "api", "--label", "a=b")
    done = cli("revoke", *arguments, "--yes", "-o", "json")
    assert (done.code, done.out, json.loads(done.err)["reason"]) == (2, "", "everything")
    assert lives(cli, token)
    assert cli("revoke", *arguments, "--expect", "1", "--yes").code == 0


@pytest.mark.parametrize(
    "arguments",
    [("--subject", "*o*"), ("--subject", "*", "--kind", "access"), ("--label", "a=*"), ("--label", "*=b")],
    ids=" ".join,
)
def test_a_pattern_that_narrows_is_not_everything(cli, arguments):
    cli.token("--label", "a=b")
    assert cli("revoke", *arguments, "--yes").code == 0


def test_tokens_are_selected_as_list_selects_them(cli):
    chosen, other = cli.token("--scope", "a", "--label", "t=1"), cli.token("--scope", "b", "--label", "t=1")
    done = cli("revoke", "--scope", "a", "--label", "t", "--subject", "some*", "--yes", "-o", "json")
    assert (done.code, outcomes(done)) == (0, {cli.id_of(chosen): "revoked"})
    assert lives(cli, other)
    again = cli("revoke", "--scope", "a", "--yes")
    assert (again.code, again.out) == (5, "")
    assert cli("revoke", "--scope", "a", "--yes", "--ignore-not-found").code == 0


# What is read: possession kills, naming does not


def test_a_token_whose_secret_is_right_kills_wherever_it_stands(cli):
    tokens = [cli.token() for _ in range(3)]
    text = f'password: "{tokens[0]}"\nAuthorization: Bearer {tokens[1]}\r\n{tokens[2]}'
    done = revoked(cli, text)
    assert (done.code, outcomes(done)) == (0, dict.fromkeys(map(cli.id_of, tokens), "revoked"))
    assert not any(lives(cli, token) for token in tokens)


def test_a_jwt_of_ours_kills_and_a_changed_one_does_not(cli):
    token = cli.token("--format", "jwt", "--audience", "a")
    head, payload, signature = token.split(".")
    forged = revoked(cli, f"see {head}.{payload}.{signature[::-1]}\n")
    assert (forged.code, forged.json["targets"], forged.json["foreign"]) == (5, [], {"jwt": 1})
    assert lives(cli, token)
    done = revoked(cli, f"see {token}, it leaked\n")
    assert done.code == 0
    assert set(outcomes(done).values()) == {"revoked"}
    assert not lives(cli, token)


def test_a_wrong_secret_with_a_good_checksum_kills_nothing(cli):
    token = cli.token()
    text = wrong_secret(cli, token)
    for given in (f"{text}\n", f"curl -H 'Bearer {text}'\n"):
        plain = cli("revoke", "-", "--yes", input=given)
        assert (plain.code, plain.out) == (5, f"{cli.id_of(token)}\tnamed_only\tmentioned, not proved: left alone\n")
        assert lives(cli, token)
    done = revoked(cli, text)
    assert (done.code, outcomes(done)) == (5, {cli.id_of(token): "named_only"})
    assert cli("audit", "log", "--operation", "token.revoke").out == ""


@pytest.mark.parametrize(
    "line",
    [
        "see {id} please",
        "# {id}",
        "x{id}",
        "{id}x",
        "id={id}",
        '"{id}"',
        "see tkc_at_{id}",
        "tkc_at_{id}_short",
        '["{id}"]',
        '{{"note": "{id}"}}',
        '{{"ids": ["{id}"]}}',
        '{{"id": "x {id}"}}',
        '{{"x": {{"id": "{id}"}}}}',
        "'{id}'",
    ],
)
def test_an_id_that_is_only_mentioned_lives(cli, line):
    token = cli.token()
    done = revoked(cli, line.format(id=cli.id_of(token)) + "\n")
    assert done.code == 5
    assert set(outcomes(done).values()) <= {"named_only"}
    assert lives(cli, token)


def test_an_id_in_a_json_line_speaks_for_that_line_alone(cli):
    token, planted = cli.token(), cli.token()
    line = json.dumps({"id": cli.id_of(token), "subject": f"{cli.id_of(planted)} said", "parent": cli.id_of(planted)})
    done = revoked(cli, line + "\n")
    assert (done.code, outcomes(done)) == (0, {cli.id_of(token): "revoked"})
    assert lives(cli, planted)


def test_a_secret_in_a_json_line_is_found_beside_an_id_that_is_not_ours(cli):
    token, jwt = cli.token(), cli.token("--format", "jwt", "--audience", "a")
    line = json.dumps({"id": "r1", "msg": f"Bearer {token}", "next": f"line\n{jwt}."})
    done = revoked(cli, line + "\n")
    assert done.code == 0
    assert set(outcomes(done).values()) == {"revoked"}
    assert not lives(cli, token)
    assert cli("inspect", "-", "--audience", "a", "-q", input=jwt).code == 3


@pytest.mark.parametrize("around", ["\x1b[32m{}\x1b[0m", "word{}word", 'say \\n{}', "({})", "leaked: {}."])
def test_a_secret_is_found_whatever_stands_against_it(cli, around):
    for token in (cli.token(), cli.token("--format", "jwt", "--audience", "a")):
        if token.startswith("ey") and around.startswith("word"):
            continue  # letters behind a JWT are part of its signature
        assert revoked(cli, around.format(token)).code == 0
        assert not lives(cli, token)


@pytest.mark.parametrize(
    "line", ["{id}", "  {id}  ", "{id}\tactive\taccess\tci\tme", "{id} because", "tkc_at_{id}", '{{"id": "{id}"}}']
)
def test_an_id_that_is_the_lines_own_subject_kills(cli, line):
    token = cli.token()
    done = revoked(cli, line.format(id=cli.id_of(token)))
    assert (done.code, outcomes(done)) == (0, {cli.id_of(token): "revoked"})
    assert not lives(cli, token)


def test_a_planted_id_in_a_subject_of_list_kills_nobody_elses_token(cli):
    victim = cli.token()
    identifier = cli.id_of(victim)
    hostile = cli("issue", "--subject", f"x\n{identifier}\tactive\r{identifier}", "--label", f"a=\n{identifier}").out.strip()
    for output in ("text", "json", "jsonl"):
        listed = cli("list", "--label", "a", "--state", "all", "-o", output)
        done = revoked(cli, listed.out)
        assert (done.code, set(outcomes(done))) == (0, {cli.id_of(hostile)}), output
        assert lives(cli, victim)


def test_secrets_of_others_are_counted_and_left_alone(cli):
    cli.token()
    github = "ghp_" + "a1" * 18
    done = revoked(cli, f"{github}\n{github} AKIA{'A' * 16}\neyJhbGciOiJub25lIn0.e30xx.AAAAAAAAAAA\n")
    assert (done.code, done.json["targets"]) == (5, [])
    assert done.json["foreign"] == {"github": 2, "aws": 1, "jwt": 1}
    assert github not in done.out + done.err


def test_the_code_table_of_mixed_targets(cli):
    def fresh():
        return cli.id_of(cli.token())

    mentioned = wrong_secret(cli, cli.token())
    dead = fresh()
    cli("revoke", dead, "--yes")
    for text, code in (
        (f"{fresh()}\n", 0),
        (f"{fresh()}\n{dead}\n", 0),
        (f"{dead}\n", 0),
        (f"{fresh()}\n{UNKNOWN}\n", 5),
        (f"{UNKNOWN}\n", 5),
        (f"{mentioned}\n", 5),
        (f"{fresh()}\n{mentioned}\n", 0),
        (f"{UNKNOWN}\n{mentioned}\n", 5),
        ("nothing\n", 5),
        ("", 5),
    ):
        assert revoked(cli, text).code == code, text
    for text in (f"{UNKNOWN}\n", f"{mentioned}\n", "nothing\n", ""):
        assert revoked(cli, text, "--ignore-not-found").code == 0, text


def test_targets_come_from_arguments_files_and_stdin_alike(cli):
    tokens = [cli.token() for _ in range(4)]
    ids = list(map(cli.id_of, tokens))
    (cli.home / "one").write_text(f"{tokens[1]}\n{ids[0]}\n")
    (cli.home / "two").write_text(json.dumps({"id": ids[2]}))
    done = cli("revoke", ids[0], "-", "--from", "one", "--from", "two", "--yes", "-o", "jsonl", input=tokens[3])
    assert done.code == 0
    assert {line["id"]: line["outcome"] for line in done.lines} == dict.fromkeys(ids, "revoked")
    assert len(done.lines) == 4


@pytest.mark.parametrize("output", ["text", "json", "jsonl"])
def test_list_and_revoke_close(cli, output):
    tokens = [cli.token() for _ in range(3)]
    listed = cli("list", "-o", output)
    done = cli("revoke", "-", "--yes", "-o", "json", input=listed.out)
    assert (done.code, outcomes(done)) == (0, dict.fromkeys(map(cli.id_of, tokens), "revoked"))
    assert cli("list").out == ""
    again = cli("revoke", "-", "--yes", "-o", "json", input=cli("list", "--state", "revoked", "-o", output).out)
    assert (again.code, again.json["counts"]) == (0, {"already_revoked": 3})
    pretty = json.dumps(json.loads(cli("list", "--state", "all", "-o", "json").out), indent=2)
    assert revoked(cli, pretty).json["counts"] == {"already_revoked": 3}


def test_a_bulk_issue_and_revoke_close(cli):
    for output in ("json", "jsonl"):
        issued = cli("issue", "--subject", "bulk", "--count", "3", "-o", output)
        assert issued.code == 0
        named = "".join(line for line in issued.out.splitlines(keepends=True)).replace('"token": "tkc_at_', '"token": "')
        done = revoked(cli, named)
        assert (done.code, done.json["counts"]) == (0, {"revoked": 3}), output


def test_a_list_of_ours_on_many_lines_that_is_cut_or_followed_by_text_names_what_it_holds(cli):
    tokens = [cli.token() for _ in range(4)]
    ids = list(map(cli.id_of, tokens))
    first, second, third = (json.dumps({"id": identifier}) for identifier in ids[:3])
    # Not closed, and a line that only looks like an element.
    done = revoked(cli, f'{{"tokens": [\n{first},\n{second}\n,{third}\n,{ids[3]} said\n')
    assert (done.code, outcomes(done)) == (0, dict.fromkeys(ids[:3], "revoked"))
    assert lives(cli, tokens[3])
    done = revoked(cli, f'{{"tokens": [{first}\n], "next": null}}\n{ids[3]}\n')
    assert outcomes(done) == {ids[0]: "already_revoked", ids[3]: "revoked"}


def test_the_output_of_revoke_can_be_revoked_again(cli):
    cli.token(), cli.token()
    for output in ("text", "jsonl"):
        first = cli("revoke", "--subject", "someone", "--state", "all", "--yes", "-o", output)
        assert cli("revoke", "-", "--yes", "-o", "json", input=first.out).json["counts"] == {"already_revoked": 2}


@pytest.mark.parametrize(
    "given",
    [
        b"x" * 1024 * 1024,
        b"\0" * 1000,
        b"\xff\xfe" * 500,
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"id":' * 50_000,
        b"\x1b[2J\n" * 100,
        b"ey" * 500_000,
        b"{\n",
        b"tkc_at_" * 100_000,
        b"." * 900_000,
    ],
    ids=range(11),
)
def test_anything_on_stdin_touches_nothing(cli, given):
    token = cli.token()
    done = cli("revoke", "-", "--yes", input=given)
    assert (done.code, done.out) == (5, "")
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err
    with_token = cli("revoke", "-", "--yes", "-o", "json", input=given + b"\n" + token.encode())
    assert (with_token.code, outcomes(with_token)) == (0, {cli.id_of(token): "revoked"})


def test_a_line_beyond_the_limit_is_refused_before_anything_is_done(cli):
    token = cli.token()
    done = cli("revoke", "-", "--yes", input=f"{token}\n".encode() + b"x" * (1024 * 1024 + 10))
    assert (done.code, done.out) == (2, "")
    assert lives(cli, token)


def test_a_note_from_outside_is_escaped_and_kept(cli):
    identifier = cli.id_of(cli.token())
    note = "a\x1b[31m\u202eb\tc\nd[bold]"
    assert cli("revoke", identifier, "--note", note, "--ticket", note, "--yes").code == 0
    assert cli("inspect", identifier, "-o", "json").json["revoked"]["note"] == note
    screen = cli("inspect", identifier).out
    assert "a\\x1b[31m\\u202eb\\tc\\nd[bold]" in screen
    assert "\x1b" not in screen
    assert "\u202e" not in screen


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_nothing_found_is_silent_where_it_is_ignored(cli, quiet):
    cli.token()
    done = cli("revoke", "-", "--yes", "--ignore-not-found", *quiet, input="")
    assert (done.code, done.out, done.err) == (0, "", "")
    done = cli("revoke", "-", "--yes", *quiet, input="")
    assert (done.code, done.out, bool(done.err)) == (5, "", not quiet)
    done = cli("revoke", UNKNOWN, "--yes", "--ignore-not-found", *quiet)
    assert (done.code, done.out, done.err) == (0, "" if quiet else f"{UNKNOWN}\tunknown\tnot in local\n", "")
