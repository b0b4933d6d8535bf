"""``issue --replace``: the rights of a token anew; the old one goes on until its grace is over or the new one is used."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import PROGRAM, missing
from tests.faults.conftest import assert_sound, change
from tokenctl import config, wiring
from tokenctl.commands.issue_request import Wish, parameters_of
from tokenctl.model.record import Event

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
INHERITED = ("subject", "owner", "kind", "format", "scope", "audience", "labels", "parent", "note", "issuer")
UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
README = Path(__file__).parents[2] / "README.md"


def now():
    return time.time_ns() // 1_000_000


def told(cli, identifier, *, at=None):
    done = cli("inspect", identifier, "-o", "json") if at is None else cli.at(at, "inspect", identifier, "-o", "json")
    return done.json


def replaced(cli, identifier, *arguments):
    """Replace a token; return the text of its successor."""
    done = cli("issue", "--replace", identifier, "-q", *arguments)
    assert (done.code, done.err) == (0, ""), done
    return done.out.strip()


def refused(cli, code, message, *arguments):
    done = cli("issue", "--replace", *arguments)
    assert (done.code, done.out) == (code, ""), done
    assert done.err.startswith(f"tokenctl: {message}\n"), done.err
    return done


def instant(text):
    from datetime import datetime

    return int(datetime.fromisoformat(text).timestamp() * 1000)


def accepted(cli, token, *more):
    return cli("inspect", "-", "-q", *more, input=token).code == 0


@contextmanager
def changing(cli, at=None):
    """A change of the store by one who has its keys."""
    surroundings = wiring.Surroundings(environment=cli.env, now=at or now(), notice=print, warn=print, timeout=30)
    journal = wiring.open_journal(config.Profile(name="local"), surroundings)
    with journal.changing() as change:
        yield change
    journal.close()


# Rights


def test_a_successor_has_the_rights_of_the_token_that_it_replaces(cli):
    parent = cli.id_of(cli.token("--kind", "personal", "--scope", "a", "--scope", "b", "--audience", "x", "--audience", "y"))
    old = cli.id_of(
        cli.token(
            "--kind", "service", "--owner", "o", "--scope", "b", "--scope", "a", "--audience", "y", "--label", "team=x",
            "--label", "note=a=b", "--parent", parent, "--note", "what it is for", "--ttl", "3d",
        )
    )  # fmt: skip
    done = cli("issue", "--replace", old, "--ttl", "2d", "-o", "json")
    assert (done.code, done.err) == (0, "")
    new, before = done.json, told(cli, old)
    assert new["token"].startswith("tkc_svc_")
    assert {name: new[name] for name in INHERITED} == {name: before[name] for name in INHERITED}
    assert new["scope"] == ["a", "b"]
    assert (new["replaces"], new["replaced_by"], new["grace_until"]) == (old, None, None)
    assert (before["replaces"], before["replaced_by"], before["state"]) == (None, new["id"], "active")
    assert (new["expires_in"], new["max_uses"], new["not_before"], new["uses"]) == (2 * DAY // SECOND, None, None, 0)
    assert cli("audit", "verify", "-q").code == 0


def test_it_lives_as_long_as_the_old_one_was_made_for_and_may_have_a_note_of_its_own(cli):
    old = cli.id_of(cli.token("--ttl", "2h", "--not-before", "+1h"))
    later = now() + HOUR + MINUTE
    done = cli.at(later, "issue", "--replace", old, "--note", "mine", "-o", "json")
    assert done.code == 0, done.err
    assert (done.json["expires_in"], done.json["note"]) == (2 * HOUR // SECOND, "mine")


def test_options_that_are_the_old_tokens_are_refused_all_together(cli):
    old = cli.id_of(cli.token())
    done = refused(
        cli, 2, "--replace gives the rights of a token anew: --subject, --scope, --audience, --kind, --format, --algorithm, "
        "--owner, --label, --parent, --max-uses, --not-before, --count do not go with it",
        old, "--subject", "s", "--scope", "a", "--audience", "a", "--kind", "access", "--owner", "o", "--format", "opaque",
        "--algorithm", "ES256", "--label", "a=b", "--parent", old, "--max-uses", "1", "--not-before", "+1h", "--count", "2",
    )  # fmt: skip
    assert done.err.endswith("hint: python -m tokenctl issue --replace ID [--grace D] [--ttl D]\n")
    for name, words in (("--from", ("--from", "rows")), ("--kind", ("--kind", "")), ("-- CMD", ("--", "true"))):
        refused(cli, 2, f"--replace gives the rights of a token anew: {name} does not go with it", old, *words)
    assert told(cli, old)["replaced_by"] is None


def test_grace_goes_with_replace_and_every_fault_is_told(cli):
    alone = cli("issue", "--subject", "s", "--grace", "1h")
    assert (alone.code, alone.out) == (2, "")
    assert alone.err.startswith("tokenctl: --grace goes with --replace\n")
    done = cli("issue", "--replace", "nobody", "--grace", "1y", "--ttl", "0s", "--request-id", "!", "--claim", "x", "--note", " ")
    assert (done.code, done.out) == (2, "")
    for fault in ("6 faults", "--replace: not a token id", "--grace: not a duration", "--ttl: a duration is more than 0s",
                  "--request-id:", "--claim: write NAME=JSON", "--note: is empty"):  # fmt: skip
        assert fault in done.err, fault
    assert list(cli.home.iterdir()) == []


def test_an_unknown_token_is_not_found_and_makes_no_store(cli):
    refused(cli, 5, f"no token {UNKNOWN} in profile local (local, ~/.local/share/tokenctl/local/store.db)", UNKNOWN)
    assert list(cli.home.iterdir()) == []
    cli.token()
    cli("profile", "add", "staging")
    assert refused(cli, 5, f"no token {UNKNOWN} in profile local (local, ~/.local/share/tokenctl/local/store.db)", UNKNOWN).err
    assert refused(cli, 5, f"no token {UNKNOWN} in profile local (local, ~/.local/share/tokenctl/local/store.db)", UNKNOWN, "-n")


def test_the_beginning_of_a_token_names_it_and_a_whole_token_is_refused(cli):
    old = cli.token()
    whole = cli("issue", "--replace", old)
    assert (whole.code, whole.out) == (2, "")
    assert old not in whole.err
    assert accepted(cli, replaced(cli, old.rsplit("_", 1)[0]))


# The end of the old one


def test_the_old_one_goes_on_until_the_new_one_is_first_accepted(cli):
    old = cli.token("--ttl", "2h", "--scope", "a")
    child = cli.token("--parent", cli.id_of(old), "--ttl", "1h")
    new = replaced(cli, cli.id_of(old))
    assert accepted(cli, new)  # looked at, not used
    assert accepted(cli, old, "--use")
    assert not accepted(cli, new, "--use", "--scope", "beyond")  # presented, not accepted
    assert accepted(cli, old)
    assert accepted(cli, child)
    assert accepted(cli, new, "--use")
    before = told(cli, cli.id_of(old))
    assert (before["state"], before["replaced_by"]) == ("revoked", cli.id_of(new))
    assert (before["revoked"]["reason"], before["revoked"]["note"]) == ("superseded", f"replaced by {cli.id_of(new)}")
    assert told(cli, cli.id_of(child))["state"] == "revoked"
    assert accepted(cli, new, "--use")
    log = cli("audit", "log", "-o", "jsonl").lines
    tail = [(record["operation"], record["target"], record["reason"]) for record in log][-2:]
    assert tail == [("token.replace", cli.id_of(old), None), ("token.revoke", cli.id_of(old), "superseded")]
    assert cli("audit", "verify", "-q").code == 0


def test_the_record_of_a_replacement_belongs_to_the_request_of_the_successor(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    new = cli.id_of(replaced(cli, old, "--request-id", "r1", "--grace", "1h"))
    log = cli("audit", "log", "--request-id", "r1", "-o", "jsonl").lines
    assert [(record["operation"], record["target"]) for record in log] == [("token.issue", new), ("token.replace", old)]
    (record,) = cli("audit", "log", "--operation", "token.replace", "-o", "jsonl").lines
    until = instant(told(cli, old)["grace_until"])
    assert 0 <= until - instant(record["time"]) - HOUR < MINUTE
    assert record["duration_ms"] in range(HOUR - 1, HOUR + MINUTE)


@pytest.mark.parametrize(("ttl", "grace", "until"), [("3d", (), DAY), ("3d", ("--grace", "1h"), HOUR), ("1h", (), HOUR)])
def test_the_grace_is_a_day_or_as_told_and_ends_no_later_than_the_old_one(cli, ttl, grace, until):
    old = cli.id_of(cli.token("--kind", "personal", "--scope", "a", "--ttl", ttl))
    begun = now()
    replaced(cli, old, *grace)
    before = told(cli, old)
    end = instant(before["grace_until"])
    assert end <= instant(before["expires_at"])
    assert begun + until - 2 * SECOND <= end <= now() + until


def test_the_same_is_said_before_and_after_the_end_of_a_grace_was_recorded(cli):
    old = cli.token("--ttl", "4h")
    child = cli.token("--parent", cli.id_of(old), "--ttl", "3h")
    new = cli.id_of(replaced(cli, cli.id_of(old), "--grace", "1h"))
    end = instant(told(cli, cli.id_of(old))["grace_until"])
    for token in (old, child):
        assert cli.at(end - 1, "inspect", "-", "-q", input=token).code == 0
        assert cli.at(end, "inspect", "-", "-q", input=token).code == 3
    shown = cli.at(end, "inspect", cli.id_of(old))
    assert shown.out.startswith(f"not active: revoked: replaced by {new}\n")

    def said():
        before = told(cli, cli.id_of(old), at=end)
        return before["state"], before["revoked"]["reason"], told(cli, cli.id_of(child), at=end)["state"]

    assert said() == ("revoked", "superseded", "revoked")
    listed = cli.at(end, "list").out
    assert [line.split("\t")[0] for line in listed.splitlines()] == [new]
    (record,) = cli("audit", "log", "--operation", "token.revoke", "-o", "jsonl").lines
    assert (record["target"], record["reason"]) == (cli.id_of(old), "superseded")
    assert said() == ("revoked", "superseded", "revoked")
    assert cli("audit", "verify", "-q").code == 0


def test_no_grace_ends_the_old_one_with_the_delivery(cli):
    old = cli.token("--ttl", "2h")
    new = replaced(cli, cli.id_of(old), "--grace", "0s")
    assert not accepted(cli, old)
    assert accepted(cli, new)
    assert [record["operation"] for record in cli("audit", "log", "-o", "jsonl").lines][-2:] == ["token.replace", "token.revoke"]
    assert cli("audit", "verify", "-q").code == 0


@pytest.mark.parametrize("spared", [False, True], ids=["the grace ends first", "the suspension ends first"])
def test_children_that_a_suspension_spares_outlive_a_grace_only_where_the_suspension_ended_first(cli, spared):
    old = cli.id_of(cli.token("--ttl", "8h"))
    child = cli.id_of(cli.token("--parent", old, "--ttl", "7h"))
    replaced(cli, old, "--grace", "2h")
    ends = ("--for", "1h" if spared else "3h", "--then", "revoke")
    assert cli("revoke", old, "--suspend", *ends, "--keep-children", "--yes", "-q").code == 0
    later = now() + 4 * HOUR

    def said():
        return told(cli, old, at=later)["state"], told(cli, child, at=later)["state"]

    assert said() == ("revoked", "active" if spared else "revoked")
    assert cli.at(later, "list").code == 0
    assert said() == ("revoked", "active" if spared else "revoked")
    assert cli("audit", "verify", "-q").code == 0


def test_how_long_it_still_lasts_ends_with_the_grace(cli):
    opaque = cli.token("--ttl", "10h")
    jwt = cli.token("--ttl", "10h", "--format", "jwt", "--audience", "a")
    identifiers = [cli.id_of(opaque), cli("inspect", "-", "--any-audience", "-o", "json", input=jwt).json["id"]]
    for token, identifier in zip((opaque, jwt), identifiers, strict=True):
        assert accepted(cli, token, "--any-audience", "--valid-for", "3h")
        replaced(cli, identifier, "--grace", "2h")
        assert accepted(cli, token, "--any-audience", "--valid-for", "1h")
        assert not accepted(cli, token, "--any-audience", "--valid-for", "3h")
        assert cli("inspect", identifier, "--valid-for", "3h", "-q").code == 3
        assert re.match(r"active, (2h|1h 59m) left\n", cli("inspect", identifier).out)


# What cannot be replaced


def _of(*arguments, then=()):
    def make(cli):
        identifier = cli.id_of(cli.token(*arguments))
        if then:
            assert cli("revoke", identifier, *then, "--yes", "-q").code == 0
        return identifier

    return make


def _of_suspended_parent(cli):
    parent = cli.id_of(cli.token("--ttl", "1h"))
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "5m"))
    assert cli("revoke", parent, "--suspend", "--yes", "-q").code == 0
    return child


def _of_revoked_parent(cli):
    parent = cli.id_of(cli.token("--ttl", "1h"))
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "5m"))
    assert cli("revoke", parent, "--yes", "-q").code == 0
    return child


def _undelivered(cli):
    with open("/dev/full", "wb") as full:
        assert cli("issue", "--subject", "s", "-q", stdout=full, stderr=subprocess.PIPE).code == 7
    return cli("list", "--state", "all").out.split("\t")[0]


def _spent(cli):
    token = cli.token("--max-uses", "1")
    assert accepted(cli, token, "--use")
    return cli.id_of(token)


def _under_a_compromised_key(cli):
    jwt = cli.token("--format", "jwt", "--audience", "a")
    known = cli("inspect", "-", "--any-audience", "-o", "json", input=jwt).json
    assert cli("rotate-keys", "--compromised", str(known["kid"]), "-q").code == 0
    return known["id"]


OBSTACLES = {
    "compromised": (_of(then=("--reason", "compromised")), r"is revoked \(compromised\): it cannot be replaced", "compromised"),
    "its key": (_under_a_compromised_key, r"is revoked \(key \w+ compromised\): it cannot be replaced", "compromised"),
    "revoked": (_of(then=("--reason", "unused")), r"is revoked \(unused\): it cannot be replaced", "revoked"),
    "its parent revoked": (_of_revoked_parent, r"is revoked \(other\): it cannot be replaced", "revoked"),
    "undelivered": (_undelivered, r"is revoked \(undelivered\): it cannot be replaced", "undelivered"),
    "suspended": (_of(then=("--suspend",)), "is suspended: it cannot be replaced", "suspended"),
    "its parent suspended": (_of_suspended_parent, r"is suspended \(parent \w+ suspended\): it cannot be replaced", "suspended"),
    "not yet valid": (_of("--not-before", "+1h"), r"is not valid before \S+Z: it cannot be replaced", "not_yet_valid"),
    "limited": (_of("--max-uses", "3"), "has --max-uses, and no two tokens can share them: it cannot be replaced", "max_uses"),
    "spent": (_spent, "has --max-uses, and no two tokens can share them: it cannot be replaced", "max_uses"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_does_not_live_or_cannot_be_shared_is_not_replaced(cli, obstacle):
    make, message, reason = OBSTACLES[obstacle]
    old = make(cli)
    before = cli("list", "--state", "all").out
    done = cli("issue", "--replace", old, "-o", "json")
    assert (done.code, done.out) == (6, "")
    error = json.loads(done.err)
    assert (error["error"], error["reason"]) == ("conflict", reason)
    assert re.fullmatch(rf"token {old} {message}", error["message"])
    dry = cli("issue", "--replace", old, "-n", "-o", "json")
    assert (dry.code, json.loads(dry.err)) == (6, error)
    assert cli("list", "--state", "all").out == before
    if "suspended" in obstacle:
        who = old if obstacle == "suspended" else told(cli, old)["parent"]
        assert error["hint"] == f"python -m tokenctl revoke {who} --lift"
    elif reason != "not_yet_valid":
        assert error["hint"] == "issue another one: python -m tokenctl issue --help"


def test_an_expired_token_is_not_replaced_and_the_time_is_told(cli):
    old = cli.id_of(cli.token("--ttl", "1m"))
    ended = told(cli, old)["expires_at"]
    done = cli.at(now() + 2 * MINUTE, "issue", "--replace", old)
    assert (done.code, done.out) == (6, "")
    assert done.err.startswith(f"tokenctl: token {old} expired at {ended}: it cannot be replaced\n")


def test_the_token_of_a_command_is_not_replaced(cli):
    script = f'"{sys.executable}" -m tokenctl issue --replace "$TOKENCTL_TOKEN_ID"; echo $?'
    done = cli("issue", "--subject", "s", "--", "sh", "-c", script)
    assert (done.code, done.out) == (0, "6\n")
    assert re.search(r"^tokenctl: token \w+ lives as long as a command: it cannot be replaced$", done.err, re.MULTILINE)


def test_a_changed_row_is_not_replaced(cli):
    import apsw

    old = cli.id_of(cli.token())
    connection = apsw.Connection(str(cli.store))
    connection.execute("UPDATE token SET owner = 'mallory'")
    connection.close()
    refused(cli, 10, f"the row of the token {old} does not check out", old)


def test_what_is_being_replaced_or_was_names_its_successor(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    new = replaced(cli, old)
    done = refused(cli, 6, f"token {old} is being replaced by {cli.id_of(new)}", old)
    assert done.err.endswith(f"hint: python -m tokenctl inspect {cli.id_of(new)}\n")
    assert accepted(cli, new, "--use")
    assert refused(cli, 6, f"token {old} was replaced by {cli.id_of(new)}", old).err == done.err.replace("is being", "was")


def test_a_dead_successor_leaves_the_old_one_to_be_replaced_again_and_revives_nothing(cli):
    old = cli.token("--ttl", "8h")
    first = cli.id_of(replaced(cli, cli.id_of(old), "--grace", "1h"))
    end = instant(told(cli, cli.id_of(old))["grace_until"])
    assert cli("revoke", first, "--yes", "-q").code == 0
    assert accepted(cli, old)
    late = cli.at(end, "issue", "--replace", cli.id_of(old))
    assert (late.code, late.err.splitlines()[0]) == (6, f"tokenctl: token {cli.id_of(old)} was replaced by {first}")
    # The refusal recorded nothing, so the clock that is right again finds the grace going on.
    second = replaced(cli, cli.id_of(old), "--grace", "3h")
    before = told(cli, cli.id_of(old))
    assert before["replaced_by"] == cli.id_of(second)
    assert instant(before["grace_until"]) > end
    assert accepted(cli, second, "--use")
    assert not accepted(cli, old)
    assert cli("audit", "verify", "-q").code == 0


def test_a_successor_that_did_not_arrive_leaves_the_old_one_as_it_is(cli):
    old = cli.token("--ttl", "2h")
    before = told(cli, cli.id_of(old))
    with open("/dev/full", "wb") as full:
        lost = cli("issue", "--replace", cli.id_of(old), "--grace", "0s", stdout=full, stderr=subprocess.PIPE)
    assert lost.code == 7
    assert "could not be delivered" in lost.err
    assert told(cli, cli.id_of(old)) | {"expires_in": 0} == before | {"expires_in": 0}
    assert accepted(cli, replaced(cli, cli.id_of(old)))


def test_a_successor_is_replaced_like_any_token(cli):
    first = cli.token("--ttl", "8h")
    second = replaced(cli, cli.id_of(first))
    third = replaced(cli, cli.id_of(second))
    assert all(accepted(cli, token) for token in (first, second, third))
    assert accepted(cli, third, "--use")
    assert [accepted(cli, token) for token in (first, second, third)] == [True, False, True]
    assert cli("audit", "verify", "-q").code == 0


# Request ids and races


def test_a_request_id_rotates_once(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    new = cli.id_of(replaced(cli, old, "--request-id", "r1"))
    again = refused(cli, 6, f"request id r1 was answered by {new}", old, "--request-id", "r1")
    assert again.err.endswith(f"hint: python -m tokenctl inspect {new}\n")
    other = "request id r1 was used with other parameters"
    refused(cli, 6, other, old, "--request-id", "r1", "--grace", "1h")
    refused(cli, 6, other, cli.id_of(cli.token()), "--request-id", "r1")
    assert cli("issue", "--subject", "s", "--request-id", "r1").err.startswith(f"tokenctl: {other}\n")


def _killed_before_it_was_read(cli, *arguments):
    """Issue into a pipe that is full, and kill it there: made, and not delivered. Return the id of what was made."""
    before = set(cli("list").out.splitlines())
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 65536)
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    process = subprocess.Popen([*PROGRAM, "issue", "-q", *arguments], env=cli.env, cwd=cli.home, stdout=writer)
    os.close(writer)
    try:
        for _ in range(600):
            made = set(cli("list").out.splitlines()) - before
            if made:
                break
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
        os.close(reader)
    (line,) = made
    return line.split("\t")[0]


def test_a_pending_rotation_stays_one_when_its_request_is_made_again(cli):
    old = cli.token("--ttl", "2h")
    arguments = ("--replace", cli.id_of(old), "--request-id", "r1", "--grace", "1h")
    pending = _killed_before_it_was_read(cli, *arguments)
    assert told(cli, cli.id_of(old))["replaced_by"] is None
    refused(cli, 6, f"token {cli.id_of(old)} is being replaced by {pending}", cli.id_of(old))
    refused(cli, 6, "request id r1 was used with other parameters", cli.id_of(old), "--request-id", "r1")
    new = replaced(cli, *arguments[1:])
    assert told(cli, pending)["revoked"]["reason"] == "undelivered"
    assert told(cli, cli.id_of(old))["replaced_by"] == cli.id_of(new)
    refused(cli, 6, f"request id r1 was answered by {cli.id_of(new)}", *arguments[1:])
    assert [accepted(cli, token) for token in (old, new)] == [True, True]
    assert cli("audit", "verify", "-q").code == 0


def test_a_pending_rotation_that_nobody_finished_is_over_after_a_minute(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    pending = _killed_before_it_was_read(cli, "--replace", old, "--grace", "0s")
    refused(cli, 6, f"token {old} is being replaced by {pending}", old)
    later = now() + MINUTE + SECOND
    assert (told(cli, old, at=later)["state"], told(cli, pending, at=later)["state"]) == ("active", "revoked")
    assert cli.at(later, "issue", "--replace", old, "-q").code == 0
    assert cli("audit", "verify", "-q").code == 0


def test_what_is_remembered_of_other_requests_is_what_it_was(cli):
    typed = json.loads(parameters_of(Wish(subject="s", request_id="r")))
    assert typed == {
        "subject": "s", "scope": [], "audience": [], "ttl": None, "format": None, "algorithm": None, "kind": "access",
        "owner": None, "label": [], "claim": [], "not_before": None, "max_uses": None, "parent": None, "note": None,
    }  # fmt: skip


def test_of_many_at_once_one_wins_and_the_others_name_it(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: cli("issue", "--replace", old, "-q"), range(4)))
    assert sorted(each.code for each in done) == [0, 6, 6, 6], done
    (new,) = [cli.id_of(each.out.strip()) for each in done if each.code == 0]
    for each in done:
        assert each.code == 0 or each.err.startswith(f"tokenctl: token {old} is being replaced by {new}\n")
    assert told(cli, old)["replaced_by"] == new
    assert cli("audit", "verify", "-q").code == 0


# Policy


def policy(cli, text):
    path = cli.home / ".config/tokenctl/profiles/local.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


RULE = '[[rule]]\nname = "r"\nsubject = "someone"\nscopes = ["a"]\n'


def test_todays_policy_judges_and_its_refusal_is_recorded_with_the_rights(cli):
    old = cli.id_of(cli.token("--scope", "a", "--scope", "b", "--ttl", "2h", "--owner", "o"))
    policy(cli, RULE + 'max_lifetime = "1h"\n')
    told_why = "rule r: max-lifetime: a token of kind access lives at most 1h; rule r: scope: b (admitted: a)"
    refused(cli, 12, f"the policy forbids it: {told_why}", old)
    refused(cli, 12, f"the policy forbids it: {told_why}", old, "-n")
    (record,) = cli("audit", "log", "--operation", "token.deny", "-o", "jsonl").lines
    assert (record["subject"], record["owner"], record["scope"]) == ("someone", "o", ["a", "b"])
    assert (record["reason"], record["target"]) == ("r/max-lifetime", None)
    assert told(cli, old)["replaced_by"] is None
    policy(cli, RULE)
    other = cli.id_of(cli.token("--scope", "a", "--ttl", "30m"))
    policy(cli, RULE + 'max_lifetime = "10m"\n')
    refused(cli, 12, "the policy forbids it: rule r: max-lifetime: a token of kind access lives at most 10m", other)
    assert accepted(cli, replaced(cli, other, "--ttl", "10m"))


def test_a_child_does_not_outlive_its_parent_by_being_replaced(cli):
    parent = cli.id_of(cli.token("--ttl", "1h"))
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "50m"))
    later = now() + 20 * MINUTE
    done = cli.at(later, "issue", "--replace", child)
    assert (done.code, done.err.splitlines()[0]) == (
        12, "tokenctl: the policy forbids it: parent-lifetime: the parent expires earlier"
    )  # fmt: skip
    assert cli.at(later, "issue", "--replace", child, "--ttl", "30m", "-q").code == 0


def test_the_token_that_makes_way_does_not_count_against_the_limit(cli):
    policy(cli, RULE + "limit_per_owner = 2\n")
    first, second = (cli.id_of(cli.token("--scope", "a", "--ttl", "2h")) for _ in range(2))
    assert cli("issue", "--subject", "someone", "--scope", "a").code == 12
    successor = cli.id_of(replaced(cli, first))
    replaced(cli, second)
    assert cli("issue", "--subject", "someone", "--scope", "a").code == 12
    # What was replaced is not counted while its successor lives.
    assert cli("revoke", successor, "--yes", "-q").code == 0
    full = "tokenctl: the policy forbids it: rule r: limit-per-owner: "
    assert cli("issue", "--subject", "someone", "--scope", "a").err.startswith(full)
    assert cli("revoke", first, "--yes", "-q").code == 0
    cli.token("--scope", "a")


def test_a_chain_of_replacements_hides_no_more_than_one_token_of_a_limit(cli):
    policy(cli, RULE + "limit_per_owner = 1\n")
    first = cli.token("--scope", "a", "--ttl", "2h")
    second = replaced(cli, cli.id_of(first))
    limit = "rule r: limit-per-owner: root has 1 living tokens of at most 1".replace("root", told(cli, cli.id_of(first))["owner"])
    refused(cli, 12, f"the policy forbids it: {limit}", cli.id_of(second))
    assert accepted(cli, second, "--use")  # with that the first one is gone
    assert accepted(cli, replaced(cli, cli.id_of(second)))


# JWTs


def test_a_jwt_keeps_its_algorithm_and_audience_and_gets_its_claims_anew(cli):
    old = cli("issue", "--subject", "s", "--algorithm", "EdDSA", "--audience", "x", "--claim", 'tier="gold"', "-o", "json").json
    plain = cli("issue", "--replace", old["id"], "-o", "json").json
    shown = cli("inspect", "-", "--audience", "x", "-o", "json", input=plain["token"]).json
    assert (shown["header"]["alg"], shown["active"], shown["claims"]["aud"]) == ("EdDSA", True, "x")
    assert "tier" not in shown["claims"]  # never stored, so not known
    new = cli("issue", "--replace", plain["id"], "--claim", 'tier="gold"', "-o", "json").json
    assert cli("inspect", "-", "--audience", "x", "-o", "json", input=new["token"]).json["claims"]["tier"] == "gold"
    assert accepted(cli, new["token"], "--use", "--audience", "x")
    assert told(cli, plain["id"])["revoked"]["reason"] == "superseded"
    later = cli("issue", "--replace", new["id"], "--grace", "5m", "-o", "json").json["id"]
    end = new["expires_at"].replace("T", " ")
    assert f"\nfinding     replaced: verifiers that do not ask accept it until {end}\n" in cli("inspect", new["id"]).out
    assert "finding     replaced" not in cli("inspect", later).out
    opaque = cli.id_of(cli.token())
    refused(cli, 2, f"--claim: only a JWT carries claims, and {opaque} is opaque", opaque, "--claim", "a=1")


# What is told


def test_inspect_tells_both_of_each_other(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    new = replaced(cli, old, "--grace", "1h")
    end = told(cli, old)["grace_until"]
    shown = cli("inspect", old).out
    assert re.match(r"active, (1h|59m 59s) left\n", shown)
    line = next(line for line in shown.splitlines() if line.startswith("  replaced "))
    assert re.fullmatch(rf"  replaced  by {cli.id_of(new)}, until {end[:19].replace('T', ' ')}Z   in (1h|59m 5\ds)", line)
    assert f"\n  replaces  {old}\n" in cli("inspect", cli.id_of(new)).out
    assert accepted(cli, new, "--use")
    assert f"\n  replaced  by {cli.id_of(new)}\n" in cli("inspect", old).out


def test_a_dry_run_tells_what_makes_way_and_makes_nothing(cli):
    old = cli.id_of(cli.token("--ttl", "2h", "--scope", "a"))
    cli.token("--parent", old, "--ttl", "1h")
    before = cli("list", "--state", "all").out
    done = cli("issue", "--replace", old, "--grace", "30m", "-n")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "would issue  access, opaque, 2h, for someone\n"
        f"replaces     {old}, which goes on for 30m at most; 1 child will die with it\n"
    )
    members = cli("issue", "--replace", old, "-n", "-o", "json").json
    assert (members["replaces"], members["grace"], members["scope"], members["lifetime"]) == (old, "1d", ["a"], "2h")
    plain = cli("issue", "--subject", "s", "-n", "-o", "json").json
    assert (plain["replaces"], plain["grace"]) == (None, None)
    assert cli("list", "--state", "all").out == before


def test_off_a_terminal_stdout_is_the_token_or_the_id_alone(cli):
    old = cli.id_of(cli.token("--ttl", "2h"))
    done = cli("issue", "--replace", old, "--out", "token")
    assert (done.code, done.err) == (0, "")
    assert (cli.home / "token").read_text().split("_")[2] == done.out.strip()
    again = cli("issue", "--replace", done.out.strip())
    assert (again.code, again.err) == (0, "")
    assert re.fullmatch(r"tkc_at_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}\n", again.out)


# The log


@pytest.mark.parametrize(
    ("whose", "changes", "flaw"),
    [
        ("old", {"replaced_by": UNKNOWN}, "what it replaces, or what replaces it, differs from its records"),
        ("old", {"grace_until": 9_999_999_999_000}, "what it replaces, or what replaces it, differs from its records"),
        ("old", {"replaced_by": None, "grace_until": None}, "what it replaces, or what replaces it, differs from its records"),
        ("new", {"replaces": UNKNOWN}, "what it replaces, or what replaces it, differs from its records"),
        ("new", {"grace": 1}, "what it replaces, or what replaces it, differs from its records"),
        ("new", {"replaces": None, "grace": None}, "what replaced it does not say so"),
        ("new", {"replaced_by": UNKNOWN, "grace_until": 1}, "what it replaces, or what replaces it, differs from its records"),
    ],
)
def test_verify_finds_what_one_with_the_keys_changed_without_a_record(cli, whose, changes, flaw):
    old = cli.id_of(cli.token("--ttl", "2h"))
    new = cli.id_of(replaced(cli, old))
    assert cli("audit", "verify", "-q").code == 0
    with changing(cli) as change:
        row = change.rows.token({"old": old, "new": new}[whose]).row
        change.rows.update_token(row._replace(**changes), *changes)
    done = cli("audit", "verify")
    assert done.code == 10
    assert flaw in done.out + done.err


def test_what_a_clock_ahead_had_ended_by_its_grace_stays_ended_when_the_clock_is_accepted(cli):
    old = cli.id_of(cli.token("--ttl", "20h"))
    spared = cli.id_of(cli.token("--ttl", "20h"))
    for identifier, grace in ((old, "1h"), (spared, "10h")):
        replaced(cli, identifier, "--grace", grace)
    ahead = now() + 2 * HOUR
    assert cli.at(ahead, "revoke", cli.id_of(cli.token()), "--yes", "-q").code == 0  # a record; the grace is recorded with it
    assert cli("store", "accept-clock", "--yes", "-q").code == 0
    assert (told(cli, old)["state"], told(cli, spared)["state"]) == ("revoked", "active")
    assert cli("audit", "verify", "-q").code == 0


@pytest.mark.parametrize("spared", [False, True], ids=["the grace ended first", "the suspension ended first"])
def test_an_accepted_clock_revives_no_child_of_what_a_grace_had_ended(cli, spared):
    old = cli.id_of(cli.token("--ttl", "20h"))
    child = cli.id_of(cli.token("--parent", old, "--ttl", "19h"))
    replaced(cli, old, "--grace", "2h")
    ends = ("--for", "1h" if spared else "3h", "--then", "revoke")
    assert cli("revoke", old, "--suspend", *ends, "--keep-children", "--yes", "-q").code == 0
    with changing(cli, now() + 4 * HOUR) as change:
        change.append(Event(operation="plan.create", target="0" * 64))
    said = told(cli, old)["state"], told(cli, child)["state"]
    assert said == ("revoked", "active" if spared else "revoked")
    assert cli("store", "accept-clock", "--yes", "-q").code == 0
    assert (told(cli, old)["state"], told(cli, child)["state"]) == said
    assert cli("audit", "verify", "-q").code == 0


def test_verify_finds_a_grace_that_a_corrected_clock_would_revive(cli):
    old = cli.id_of(cli.token("--ttl", "20h"))
    replaced(cli, old, "--grace", "1h")
    with changing(cli, now() + 2 * HOUR) as change:
        change.append(Event(operation="plan.create", target="0" * 64))
    assert told(cli, old)["state"] == "revoked"
    with changing(cli) as change:
        seq = change.turn_back(Event(operation="store.clock", target=change.store_id)).seq
    assert told(cli, old)["state"] == "active"
    done = cli("audit", "verify")
    assert done.code == 10
    assert f"token {old}: it had ended when record {seq} accepted the clock, and is not revoked" in done.out + done.err


# The recipe


def test_the_recipe_of_the_readme_rotates_what_ends_within_a_week_and_once(cli):
    if shutil.which("jq") is None:
        missing("jq")
    (recipe,) = re.findall(r"```sh\n# Replace[^\n]*\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    service = ("--kind", "service", "--scope", "a")
    place = cli.home / "a place" / "backup.token"
    place.parent.mkdir(mode=0o700)
    labelled = ("--label", f"file={place}", "--ttl")
    begun = cli.at(now() - 25 * DAY, "issue", "--subject", "someone", *service, *labelled, "30d", "--out", str(place))
    soon, first = begun.out.strip(), place.read_text()
    late, unlabelled = cli.id_of(cli.token(*service, *labelled, "8d")), cli.id_of(cli.token(*service, "--ttl", "1d"))
    held = cli.id_of(cli.token(*service, *labelled, "2d"))
    assert cli("revoke", held, "--suspend", "--yes", "-q").code == 0

    def run():
        script = f"tokenctl() {{ {shlex.quote(sys.executable)} -m tokenctl \"$@\"; }}; {recipe}"
        return subprocess.run(
            ["sh", "-c", script], env=cli.env, cwd=cli.home, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip

    done = run()
    assert done.stderr.splitlines() == [
        f"tokenctl: token {held} is suspended: it cannot be replaced", f"hint: python -m tokenctl revoke {held} --lift"
    ]  # fmt: skip
    new = done.stdout.strip()
    assert cli.id_of(place.read_text()) == new
    assert [told(cli, each)["replaced_by"] for each in (soon, late, unlabelled, held)] == [new, None, None, None]
    assert (told(cli, new)["labels"], told(cli, new)["expires_in"] > 29 * DAY // SECOND) == ({"file": str(place)}, True)
    again = run()
    assert (again.stdout, again.stderr) == ("", done.stderr)
    assert accepted(cli, first)
    assert accepted(cli, place.read_text(), "--use")
    assert not accepted(cli, first)


def test_a_dry_run_names_the_true_end_of_the_old_one(cli):
    old = cli.id_of(cli.token("--ttl", "13m"))
    told = cli("issue", "--replace", old, "-n").out.splitlines()[1]
    assert re.fullmatch(rf"replaces     {old}, which goes on for (13m|12m \d+s) at most, when it expires", told)
    none = cli("issue", "--replace", old, "--grace", "0s", "-n").out.splitlines()[1]
    assert none == f"replaces     {old}, which ends with the delivery"


@pytest.mark.parametrize("by", ["itself", "its key"])
def test_a_successor_of_a_token_that_was_compromised_meanwhile_is_revoked(cli, by):
    jwt = ("--format", "jwt", "--audience", "a") if by == "its key" else ()
    made = cli("issue", "--subject", "x", *jwt, "-o", "json").json
    old, deed = str(made["id"]), f"self.revoke([Target({made['id']!r})], Reason('compromised'))"
    if by == "its key":
        deed = f"self.signing_keys.compromise({made['kid']!r})"
    code = (
        "import os, sys\n"
        "from tokenctl.backends.local.authority import LocalAuthority\n"
        "from tokenctl.cli.boundary import run\n"
        "from tokenctl.model.token import Reason, Target\n"
        "real = LocalAuthority.delivered\n"
        "def meanwhile(self, identifiers):\n"
        f"    list({deed})\n"
        "    return real(self, identifiers)\n"
        "LocalAuthority.delivered = meanwhile\n"
        f"sys.exit(run(['issue', '--replace', {old!r}, '--request-id', 'r'], environment=os.environ, program='tokenctl'))\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], env=cli.env, cwd=cli.home, capture_output=True, check=False)
    assert done.returncode == 7, done.stderr
    new = next(token for token in cli("list", "--state", "all", "-o", "jsonl").lines if token["id"] != old)
    assert (new["state"], new["replaces"]) == ("revoked", old)
    assert_sound(cli)


def test_a_successor_that_was_marked_as_delivered_by_hand_is_found(cli):
    old = str(cli("issue", "--subject", "x", "--ttl", "2h", "-o", "json").json["id"])
    code = (
        "import os\n"
        "from tokenctl.backends.local.authority import LocalAuthority\n"
        "from tokenctl.cli.boundary import run\n"
        "LocalAuthority.delivered = lambda self, identifiers: os._exit(9)\n"
        f"run(['issue', '--replace', {old!r}, '-q'], environment=os.environ, program='tokenctl')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], env=cli.env, cwd=cli.home, capture_output=True, check=False)
    assert done.returncode == 9, done.stderr
    assert_sound(cli)
    change(cli.store, "UPDATE token SET delivered_at = issued_at WHERE replaces IS NOT NULL")
    verified = cli("audit", "verify")
    assert verified.code == 10
    assert "it is delivered, and what it replaces does not say so" in verified.out + verified.err
    assert cli("store", "release", "--reason", "seen", "--yes").code == 0
    assert cli("inspect", "--use", "-", input=done.stdout).code == 0
    assert cli("inspect", old).code == 3
