"""Plans: made by ``revoke --dry-run --out``, carried out by ``revoke --plan`` exactly as they stand, within an hour."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time

import pytest

from tests.faults.conftest import rows

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
HOUR = 3_600_000


def issued(cli, *arguments):
    return cli.id_of(cli.token("--ttl", "1h", *arguments))


def made(cli, *arguments, name="plan.json"):
    """Make a plan; return its path and what it holds."""
    done = cli("revoke", *arguments, "--dry-run", "--out", name)
    assert done.code == 0, done.err
    return cli.home / name, json.loads((cli.home / name).read_text())


def rewritten(path, **changes):
    plan = json.loads(path.read_text())
    path.write_text(json.dumps(plan | changes))


def states(cli, *ids):
    return [cli("inspect", identifier, "-o", "json").json["state"] for identifier in ids]


def outcomes(done):
    return {target["id"]: target["outcome"] for target in done.json["targets"]}


def assert_untouched(cli, done, code, *ids):
    assert (done.code, done.out) == (code, ""), done
    assert set(states(cli, *ids)) == {"active"}
    assert cli("audit", "log", "--operation", "token.revoke").out == ""


def test_a_plan_is_exactly_its_ids_action_profile_and_authority_and_its_making_is_a_record(cli):
    ids = sorted(issued(cli) for _ in range(3))
    dead = issued(cli)
    cli("revoke", dead, "--yes", "-q")
    path, plan = made(cli, *reversed(ids), dead, "--reason", "leaked", "--note", "why", "--ticket", "T-1")
    (authority,) = rows(cli.store, "SELECT value FROM meta WHERE name = 'store_id'")[0]
    assert plan["targets"] == [{"id": identifier, "state_before": "active"} for identifier in ids]
    assert {name: value for name, value in plan.items() if name not in ("targets", "made_at", "expires_at", "request_id")} == {
        "tokenctl_plan": 1, "action": "revoke", "for_seconds": None, "then": None, "keep_children": False,
        "reason": "compromised", "note": "why", "ticket": "T-1", "profile": "local", "authority": authority,
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
    (record,) = cli("audit", "log", "--operation", "plan.create", "-o", "jsonl").lines
    assert record["target"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record["request_id"], record["ticket"], record["reason"]) == (plan["request_id"], "T-1", "compromised")
    assert states(cli, *ids) == ["active"] * 3
    done = cli("revoke", "--plan", "plan.json", "--yes", "-o", "json")
    assert (done.code, outcomes(done)) == (0, dict.fromkeys(ids, "revoked"))
    assert done.json["request_id"] == plan["request_id"]
    known = cli("inspect", ids[0], "-o", "json").json["revoked"]
    assert (known["reason"], known["note"], known["ticket"]) == ("compromised", "why", "T-1")
    assert cli("audit", "verify", "-q").code == 0


def test_a_target_revoked_meanwhile_by_another_operator_is_no_obstacle(cli):
    ids = sorted(issued(cli) for _ in range(3))
    made(cli, *ids)
    assert cli("revoke", ids[1], "--reason", "test", "--yes", "-q").code == 0
    done = cli("revoke", "--plan", "plan.json", "--yes", "-o", "json")
    assert done.code == 0
    assert outcomes(done) == {ids[0]: "revoked", ids[1]: "already_revoked", ids[2]: "revoked"}
    assert states(cli, *ids) == ["revoked"] * 3
    again = cli("revoke", "--plan", "plan.json", "--yes", "-o", "json")
    assert (again.code, again.json["counts"]) == (0, {"already_revoked": 3})
    assert cli("audit", "verify", "-q").code == 0


def test_an_id_added_to_the_plan_makes_it_no_plan(cli):
    ids = sorted(issued(cli) for _ in range(3))
    path, plan = made(cli, *ids[:2])
    rewritten(path, targets=[*plan["targets"], {"id": ids[2], "state_before": "active"}])
    done = cli("revoke", "--plan", "plan.json", "--yes")
    assert_untouched(cli, done, 6, *ids)
    assert done.err.startswith("tokenctl: the plan was changed since it was made: nothing was touched\nhint: make it anew: ")
    assert json.loads(cli("revoke", "--plan", "plan.json", "--yes", "-o", "json").err)["reason"] == "plan_changed"


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "test"}, {"note": "x"}, {"ticket": "x"}, {"keep_children": True}, {"action": "lift"}, {"action": "suspend"},
        {"request_id": UNKNOWN}, {"made_at": "x"}, {"expires_at": "9999-12-31T23:59:59Z"}, {"targets": []}, {},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_else_is_changed_makes_it_no_plan_either(cli, changes):
    identifier = issued(cli)
    path, _ = made(cli, identifier)
    rewritten(path, **changes)
    assert_untouched(cli, cli("revoke", "--plan", "plan.json", "--yes"), 6, identifier)


def test_one_more_byte_makes_it_no_plan(cli):
    identifier = issued(cli)
    path, _ = made(cli, identifier)
    path.write_bytes(path.read_bytes() + b"\n")
    assert_untouched(cli, cli("revoke", "--plan", "plan.json", "--yes"), 6, identifier)


def test_a_plan_holds_for_an_hour(cli):
    now = time.time_ns() // 1_000_000
    identifier = cli.id_of(cli.token("--ttl", "5h"))
    made(cli, identifier)
    late = cli.at(now + HOUR + 10_000, "revoke", "--plan", "plan.json", "--yes")
    assert (late.code, late.out) == (6, "")
    assert re.match(r"tokenctl: the plan was made 1h( \d+s)? ago and holds for 1h: nothing was touched\n", late.err)
    assert cli.at(now + HOUR - 10_000, "revoke", "--plan", "plan.json", "--yes", "-q").code == 0


def test_a_plan_of_another_profile_is_refused(cli):
    identifier = issued(cli)
    made(cli, identifier)
    cli("profile", "add", "staging")
    for prepare in (False, True):
        if prepare:
            cli("-p", "staging", "issue", "--subject", "x", "-q")
        done = cli("-p", "staging", "revoke", "--plan", "plan.json", "--yes")
        assert (done.code, done.out) == (6, "")
        assert done.err.startswith("tokenctl: the plan is for profile local, store ")
    assert states(cli, identifier) == ["active"]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"\xff\xfe", b"\0", b"{", b"[" * 100_000, b'{"tokenctl_plan": 2}', b'{"tokenctl_plan": true}',
        b'{"tokenctl_plan": 1}', b'{"tokenctl_plan": 1, "tokenctl_plan": 1}', b"x" * 100,
    ],
    ids=range(13),
)  # fmt: skip
def test_a_file_that_is_no_plan_is_usage(cli, content):
    identifier = issued(cli)
    (cli.home / "plan.json").write_bytes(content)
    done = cli("revoke", "--plan", "plan.json", "--yes")
    assert_untouched(cli, done, 2, identifier)
    assert "Traceback" not in done.err
    assert "a bug" not in done.err


@pytest.mark.parametrize("place", ["first", "last"])
def test_an_id_added_anywhere_shows_a_change(cli, place):
    others = sorted(issued(cli) for _ in range(3))
    path, plan = made(cli, others[1])
    added = [{"id": others[0 if place == "last" else 2], "state_before": "active"}]
    rewritten(path, targets=plan["targets"] + added if place == "last" else added + plan["targets"])
    done = cli("revoke", "--plan", "plan.json", "--yes")
    assert_untouched(cli, done, 6, *others)


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": None}, {"targets": {}}, {"targets": [1]}, {"targets": ["x"]},
        {"targets": [{"id": "x", "state_before": "active"}]},
        {"targets": [{"id": UNKNOWN}]}, {"targets": [{"id": UNKNOWN, "state_before": "active"}] * 2},
        {"targets": [{"id": UNKNOWN, "state_before": "dead"}]}, {"targets": [{"id": UNKNOWN, "state_before": []}]},
        {"targets": [{"id": UNKNOWN, "state_before": "active", "more": 1}]}, {"action": "delete"}, {"action": []},
        {"action": "lift", "keep_children": True}, {"then": "lift"}, {"for_seconds": 5}, {"for_seconds": True},
        {"action": "suspend", "then": "lift", "for_seconds": 0}, {"action": "suspend", "then": "lift", "for_seconds": 1e9},
        {"action": "suspend", "then": "lift", "for_seconds": 2**53}, {"keep_children": 1}, {"keep_children": None},
        {"reason": None}, {"reason": "because"}, {"note": 5}, {"note": "x" * 5000}, {"ticket": []}, {"profile": ""},
        {"authority": None}, {"request_id": "-1"}, {"request_id": None}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_member_of_a_wrong_kind_shows_a_change(cli, changes):
    identifier = issued(cli)
    path, _ = made(cli, identifier)
    rewritten(path, **changes)
    done = cli("revoke", "--plan", "plan.json", "--yes")
    assert_untouched(cli, done, 6, identifier)
    assert done.err.startswith("tokenctl: ")
    assert "a bug" not in done.err


def test_a_plan_too_large_to_be_one_of_ours_is_not_read(cli):
    issued(cli)
    with (cli.home / "plan.json").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    done = cli("revoke", "--plan", "plan.json", "--yes")
    assert (done.code, done.out, done.err) == (2, "", "tokenctl: plan.json is larger than 67108864 bytes\n")


@pytest.mark.parametrize(
    "arguments",
    [
        (UNKNOWN,), ("-",), ("--from", "x"), ("--subject", "x"), ("--reason", "test"), ("--note", "x"), ("--ticket", "x"),
        ("--keep-children",), ("--suspend",), ("--lift",), ("--for", "2h", "--then", "lift"), ("--out", "other", "-n"),
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_says_everything_itself(cli, arguments):
    identifier = issued(cli)
    made(cli, identifier)
    assert_untouched(cli, cli("revoke", "--plan", "plan.json", "--yes", *arguments, input=""), 2, identifier)


def test_a_plan_is_made_by_a_dry_run_alone(cli):
    identifier = issued(cli)
    done = cli("revoke", identifier, "--out", "plan.json", "--yes")
    assert_untouched(cli, done, 2, identifier)
    assert "--out: a plan is made by --dry-run" in done.err
    assert not (cli.home / "plan.json").exists()


def test_a_plan_can_be_previewed_expected_and_asked_about(cli):
    ids = sorted(issued(cli) for _ in range(2))
    made(cli, *ids)
    before = cli("audit", "log").out
    shown = cli("revoke", "--plan", "plan.json", "--dry-run", "--yes")
    assert (shown.code, shown.out) == (0, "".join(f"{identifier}\twould be revoked\tis active\n" for identifier in ids))
    assert cli("audit", "log").out == before
    assert_untouched(cli, cli("revoke", "--plan", "plan.json"), 2, *ids)
    assert_untouched(cli, cli("revoke", "--plan", "plan.json", "--expect", "3", "--yes"), 6, *ids)
    assert_untouched(cli, cli("revoke", "--plan", "plan.json", "--expect", "-1", "--yes"), 2, *ids)
    assert cli("revoke", "--plan", "plan.json", "--expect", "2", "--yes").code == 0


def test_everything_at_once_may_be_planned(cli):
    ids = sorted(issued(cli) for _ in range(2))
    made(cli, "--state", "active")
    assert cli("revoke", "--plan", "plan.json", "--yes").code == 0
    assert states(cli, *ids) == ["revoked"] * 2


def test_a_plan_of_a_suspension_keeps_its_terms_and_a_rerun_changes_none(cli):
    identifier = issued(cli)
    _, plan = made(cli, identifier, "--suspend", "--for", "2h", "--then", "revoke", "--keep-children")
    assert (plan["action"], plan["for_seconds"], plan["then"], plan["keep_children"]) == ("suspend", 7200, "revoke", True)
    assert cli("revoke", "--plan", "plan.json", "--yes").code == 0
    before = cli("inspect", identifier, "-o", "json").json["suspended"]
    assert before["then"] == "revoke"
    again = cli("revoke", "--plan", "plan.json", "--yes")
    assert again.code == 0
    assert "suspended before, under this request" in again.out
    assert cli("inspect", identifier, "-o", "json").json["suspended"] == before
    made(cli, identifier, "--lift", name="lift.json")
    assert cli("revoke", "--plan", "lift.json", "--yes").code == 0
    assert states(cli, identifier) == ["active"]
    assert cli("audit", "verify", "-q").code == 0


def test_without_anything_to_do_no_plan_is_made(cli):
    dead = issued(cli)
    cli("revoke", dead, "--yes", "-q")
    assert cli("revoke", dead, "--dry-run", "--out", "plan.json").code == 0
    assert cli("revoke", UNKNOWN, "--dry-run", "--out", "plan.json").code == 5
    assert cli("revoke", "--subject", "nobody", "--dry-run", "--out", "plan.json").code == 5
    assert not (cli.home / "plan.json").exists()
    assert cli("audit", "log", "--operation", "plan.create").out == ""


def test_an_unknown_id_is_told_and_not_planned(cli):
    identifier = issued(cli)
    done = cli("revoke", identifier, UNKNOWN, "--dry-run", "--out", "plan.json")
    assert done.code == 5
    assert json.loads((cli.home / "plan.json").read_text())["targets"] == [{"id": identifier, "state_before": "active"}]


def test_a_plan_replaces_no_link_and_none_of_our_own_files(cli):
    identifier = issued(cli)
    (cli.home / "elsewhere").write_text("kept")
    os.symlink("elsewhere", cli.home / "link")
    os.mkfifo(cli.home / "pipe")
    for place in ("link", "pipe", "absent/plan.json", str(cli.store), str(cli.root_secret), str(cli.anchor), ""):
        done = cli("revoke", identifier, "--dry-run", "--out", place)
        assert (done.code, done.out) == (2, ""), place
    assert (cli.home / "elsewhere").read_text() == "kept"
    assert cli("audit", "log", "--operation", "plan.create").out == ""
    assert cli("audit", "verify", "-q").code == 0


def test_a_plan_holds_nothing_of_what_was_pasted(cli):
    token = cli.token("--ttl", "1h")
    text = f"password: {token} and ghp_{'a1' * 18} for bob\n"
    done = cli("revoke", "-", "--dry-run", "--out", "plan.json", input=text)
    assert done.code == 0
    plan = (cli.home / "plan.json").read_text()
    assert cli.id_of(token) in plan
    assert token.split("_")[3][:10] not in plan
    assert "ghp_" not in plan
    assert "bob" not in plan


def test_a_record_that_was_changed_to_a_hash_makes_no_plan(cli):
    identifier = issued(cli)
    path, _ = made(cli, identifier)
    rewritten(path, reason="test")
    from tests.faults.conftest import change

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    change(cli.store, f"UPDATE record SET target = '{digest}' WHERE operation = 'plan.create'")
    assert_untouched(cli, cli("revoke", "--plan", "plan.json", "--yes"), 6, identifier)


def test_a_plan_made_ahead_of_the_clock_accepted_since_is_none(cli):
    now = time.time_ns() // 1_000_000
    identifier = cli.id_of(cli.token("--ttl", "30d", "--kind", "personal", "--scope", "a"))
    ahead = now + 10 * 24 * HOUR
    assert cli.at(ahead, "revoke", identifier, "--dry-run", "--out", "plan.json").code == 0
    assert cli("store", "accept-clock", "--yes", "-q").code == 0
    for instant in (now + 60_000, ahead - HOUR, ahead + HOUR // 2):
        done = cli.at(instant, "revoke", "--plan", "plan.json", "--yes")
        assert (done.code, done.out) == (6, "")
        assert re.match(r"tokenctl: the plan was made at \S+, ahead of the clock accepted since: nothing was touched\n", done.err)
    assert states(cli, identifier) == ["active"]
    made(cli, identifier)
    assert cli("revoke", "--plan", "plan.json", "--yes", "-q").code == 0


def test_a_plan_lifts_no_suspension_made_after_it(cli):
    again, other = sorted(issued(cli) for _ in range(2))
    assert cli("revoke", again, other, "--suspend", "--yes", "-q").code == 0
    made(cli, again, other, "--lift")
    assert cli("revoke", "--plan", "plan.json", "--yes", "-q").code == 0
    assert cli("revoke", again, "--suspend", "--reason", "compromised", "--yes", "-q").code == 0
    done = cli("revoke", "--plan", "plan.json", "--yes")
    assert done.code == 3
    assert done.out.splitlines()[0] == f"{again}\tdenied\tsuspended again since the plan"
    assert states(cli, again, other) == ["suspended", "active"]
    assert cli("revoke", again, "--lift", "--yes", "-q").code == 0
    assert cli("audit", "verify", "-q").code == 0


def test_a_plan_of_nothing_is_no_file_and_says_so(cli):
    identifier = cli.id_of(cli.token())
    told = "no plan: nothing to revoke; plan.json is not written"
    done = cli("revoke", "--subject", "nobody", "--dry-run", "--out", "plan.json")
    assert (done.code, done.out) == (5, "")
    assert done.err.splitlines()[0] == told
    cli("revoke", identifier, "--reason", "test", "--yes")
    done = cli("revoke", identifier, "--dry-run", "--out", "plan.json")
    assert (done.code, done.err) == (0, f"{told}\n")
    done = cli("revoke", identifier, "--dry-run", "--out", "plan.json", "-o", "json")
    assert (done.code, done.json["warnings"], done.err) == (0, [told], "")
    assert not (cli.home / "plan.json").exists()
