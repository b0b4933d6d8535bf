"""``revoke --suspend`` and ``--lift``: denied for a time; no reader revives, and only what was suspended is lifted."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.faults.conftest import change, database, rows

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
HOUR = 3_600_000


def issued(cli, *arguments):
    return cli.id_of(cli.token("--ttl", "1h", *arguments))


def state(cli, identifier):
    return cli("inspect", identifier, "-o", "json").json["state"]


def suspended(cli, identifier, *arguments):
    done = cli("revoke", identifier, "--suspend", "--yes", *arguments)
    assert done.code == 0, done.err


def outcomes(done):
    return {target["id"]: target["outcome"] for target in done.json["targets"]}


def assert_sound(cli):
    assert cli("audit", "verify", "-q").code == 0


def operations(cli, identifier):
    return [line["operation"] for line in cli("audit", "log", "-o", "jsonl").lines if line["target"] == identifier]


def test_a_suspended_token_denies_and_a_lifted_one_is_accepted_again(cli):
    token = cli.token("--ttl", "1h")
    identifier = cli.id_of(token)
    done = cli("revoke", identifier, "--suspend", "--yes", "--reason", "policy", "--note", "who is it?", "--ticket", "T-1")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(
        rf"{identifier}\tsuspended\twas active; denied, checked after \d+ ms; until it is lifted\n", done.out
    )
    assert cli("inspect", "-", "--any-audience", input=token).code == 3
    assert cli("inspect", "-", "--use", "--any-audience", "-q", input=token).code == 3
    shown = cli("inspect", identifier)
    assert re.match(r"not active: suspended \d+s ago, until it is lifted\n", shown.out)
    assert "  because   who is it?\n" in shown.out
    known = cli("inspect", identifier, "-o", "json").json
    assert (known["state"], known["revoked"], known["suspended"]["until"], known["suspended"]["then"]) == (
        "suspended", None, None, None
    )  # fmt: skip
    lifted = cli("revoke", identifier, "--lift", "--yes")
    assert (lifted.code, lifted.err) == (0, "")
    assert re.fullmatch(rf"{identifier}\tlifted\twas suspended; checked after \d+ ms; now active\n", lifted.out)
    assert cli("inspect", "-", "--any-audience", "-q", input=token).code == 0
    assert cli("inspect", identifier, "-o", "json").json["suspended"] is None
    assert operations(cli, identifier) == ["token.issue", "token.suspend", "token.lift"]
    assert_sound(cli)


def test_a_suspension_that_ends_in_a_revocation_is_revoked_without_anybody_reviving_it(cli):
    token = cli.token("--ttl", "1h")
    identifier = cli.id_of(token)
    done = cli("revoke", identifier, "--suspend", "--for", "2s", "--then", "revoke", "--yes", "--reason", "compromised")
    assert done.code == 0
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert cli("inspect", "-", "--any-audience", "-q", input=token).code == 3
    assert state(cli, identifier) == "revoked"
    assert cli("inspect", identifier).code == 3
    assert "revoked: its suspension ended" in cli("inspect", identifier).out
    assert operations(cli, identifier) == ["token.issue", "token.suspend"], "a reader records nothing"
    assert cli("list").out == ""
    assert operations(cli, identifier)[-1] == "token.revoke"
    known = cli("inspect", identifier, "-o", "json").json["revoked"]
    assert (known["reason"], known["note"]) == ("compromised", "its suspension ended")
    assert cli("revoke", identifier, "--lift", "--yes").code == 3
    assert_sound(cli)


def test_a_suspension_that_ends_in_a_lift_stays_for_readers_until_a_change_records_it(cli):
    identifier = issued(cli)
    now = time.time_ns() // 1_000_000
    suspended(cli, identifier, "--for", "10m", "--then", "lift")
    for instant in (now, now + HOUR // 2, now + HOUR // 4):
        assert cli.at(instant, "inspect", identifier).code == 3
    assert "list or revoke lifts it" in cli.at(now + HOUR // 2, "inspect", identifier).out
    assert operations(cli, identifier) == ["token.issue", "token.suspend"]
    assert identifier in cli.at(now + HOUR // 2, "list", "--state", "active").out
    assert operations(cli, identifier) == ["token.issue", "token.suspend", "token.lift"]
    assert cli("inspect", identifier, "-q").code == 0
    assert_sound(cli)


def test_before_its_end_no_housekeeping_ends_a_suspension(cli):
    identifier = issued(cli)
    suspended(cli, identifier, "--for", "10m", "--then", "lift")
    cli("list")
    cli.token()
    assert state(cli, identifier) == "suspended"
    assert operations(cli, identifier) == ["token.issue", "token.suspend"]


def test_a_clock_set_back_revives_no_timed_suspension(cli):
    now = time.time_ns() // 1_000_000
    ends, lifts = issued(cli), issued(cli)
    suspended(cli, ends, "--for", "10m", "--then", "revoke")
    suspended(cli, lifts, "--for", "10m", "--then", "lift")
    assert cli.at(now + HOUR // 2, "inspect", ends).code == 3
    for back in (now - HOUR, now - 24 * HOUR, 0):
        for identifier in (ends, lifts):
            assert cli.at(back, "inspect", identifier).code == 3
        assert cli.at(back, "list", "--state", "active").out == ""
    # A record of later time: what had ended by then stays ended, whatever the clock says.
    assert cli.at(now + HOUR // 2, "issue", "--subject", "x", "-q").code == 0
    assert cli.at(now - HOUR, "inspect", ends, "-o", "json").json["state"] == "revoked"
    assert_sound(cli)


def test_a_suspended_parent_suspends_its_children_on_read(cli):
    parent = issued(cli)
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "30m"))
    grandchild = cli.id_of(cli.token("--parent", child, "--ttl", "10m"))
    done = cli("revoke", parent, "--suspend", "--yes", "-o", "json")
    assert done.json["action"] == "suspend"
    assert done.json["targets"][0]["children"] == 2
    for identifier in (child, grandchild):
        assert state(cli, identifier) == "suspended"
        assert operations(cli, identifier) == ["token.issue"]
    refused = cli("revoke", grandchild, "--lift", "--yes")
    assert (refused.code, refused.out) == (3, f"{grandchild}\tdenied\tstill suspended: parent {parent} suspended\n")
    assert cli("revoke", parent, "--lift", "--yes").code == 0
    assert [state(cli, identifier) for identifier in (parent, child, grandchild)] == ["active"] * 3
    assert_sound(cli)


def test_the_children_of_a_suspended_parent_die_when_it_ends_in_a_revocation(cli):
    parent = issued(cli)
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "50m"))
    suspended(cli, parent, "--for", "10m", "--then", "revoke")
    later = time.time_ns() // 1_000_000 + HOUR // 2
    assert cli.at(later, "inspect", child, "-o", "json").json["state"] == "revoked"
    assert cli.at(later, "list").out == ""
    assert cli.at(later, "inspect", child, "-o", "json").json["state"] == "revoked"


def test_kept_children_outlive_the_end_of_a_suspension(cli):
    parent = issued(cli)
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "50m"))
    suspended(cli, parent, "--for", "10m", "--then", "revoke", "--keep-children")
    later = time.time_ns() // 1_000_000 + HOUR // 2
    assert cli.at(later, "inspect", child, "-q").code == 0
    assert child in cli.at(later, "list").out
    assert operations(cli, parent)[-1] == "token.revoke"
    assert cli.at(later, "inspect", child, "-q").code == 0
    assert_sound(cli)


def test_a_child_suspended_itself_stays_so_when_its_parent_is_lifted(cli):
    parent = issued(cli)
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "30m"))
    for identifier in (parent, child):
        suspended(cli, identifier)
    alone = cli("revoke", child, "--lift", "--yes")
    assert (alone.code, alone.out) == (
        3, f"{child}\tdenied\tits own suspension is lifted; still suspended: parent {parent} suspended\n"
    )  # fmt: skip
    suspended(cli, child)
    assert cli("revoke", parent, "--lift", "--yes").code == 0
    assert [state(cli, identifier) for identifier in (parent, child)] == ["active", "suspended"]
    both = [child, parent]
    suspended(cli, parent)
    done = cli("revoke", *both, "--lift", "--yes", "-o", "json")
    assert (done.code, outcomes(done)) == (0, dict.fromkeys(both, "lifted"))
    assert_sound(cli)


def test_kept_children_are_not_suspended_and_a_lift_forgets_that(cli):
    parent = issued(cli)
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "30m"))
    suspended(cli, parent, "--keep-children")
    assert [state(cli, identifier) for identifier in (parent, child)] == ["suspended", "active"]
    assert_sound(cli)
    assert cli("revoke", parent, "--lift", "--yes").code == 0
    assert cli("revoke", parent, "--yes").code == 0
    assert state(cli, child) == "revoked"
    assert_sound(cli)


def test_what_is_denied_for_good_is_neither_suspended_nor_lifted(cli):
    dead, expired = issued(cli), cli.id_of(cli.token("--ttl", "1s"))
    cli("revoke", dead, "--yes")
    time.sleep(1.1)
    done = cli("revoke", dead, expired, UNKNOWN, "--suspend", "--yes", "-o", "json")
    assert (done.code, outcomes(done)) == (5, {dead: "already_revoked", expired: "denied", UNKNOWN: "unknown"})
    assert cli("revoke", dead, expired, "--suspend", "--yes").code == 0
    assert cli("revoke", UNKNOWN, "--suspend", "--yes", "--ignore-not-found").code == 0
    lift = cli("revoke", dead, expired, UNKNOWN, "--lift", "--yes", "-o", "json")
    assert (lift.code, outcomes(lift)) == (3, {dead: "already_revoked", expired: "denied", UNKNOWN: "unknown"})
    quiet = cli("revoke", dead, "--lift", "--yes", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (3, "", f"not lifted: {dead} already_revoked\n")
    assert state(cli, dead) == "revoked"
    assert_sound(cli)


def test_lifting_what_is_not_suspended_is_done_already(cli):
    identifier = issued(cli)
    done = cli("revoke", identifier, "--lift", "--yes")
    assert done.code == 0
    assert re.fullmatch(rf"{identifier}\tlifted\twas active; checked after \d+ ms; it is not suspended\n", done.out)
    assert operations(cli, identifier) == ["token.issue"]
    assert cli("revoke", UNKNOWN, "--lift", "--yes").code == 5


SOON, LATER = ("--for", "10m", "--then", "lift"), ("--for", "20m", "--then", "lift")
SOON_DEAD, LATER_DEAD = ("--for", "10m", "--then", "revoke"), ("--for", "20m", "--then", "revoke")


@pytest.mark.parametrize(
    ("first", "second", "minutes", "then"),
    [
        ((), SOON, None, None), ((), SOON_DEAD, None, None), (SOON, (), None, None), (SOON_DEAD, (), None, None),
        (SOON, LATER, 20, "lift"), (LATER, SOON, 20, "lift"), (SOON, LATER_DEAD, 20, "revoke"), (LATER_DEAD, SOON, 20, "revoke"),
        (SOON_DEAD, LATER, 20, "revoke"), (LATER, SOON_DEAD, 20, "revoke"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_suspending_again_only_lengthens_or_hardens(cli, first, second, minutes, then):
    identifier = issued(cli)
    suspended(cli, identifier, *first)
    began = cli("inspect", identifier, "-o", "json").json["suspended"]
    suspended(cli, identifier, *second)
    known = cli("inspect", identifier, "-o", "json").json["suspended"]
    assert (known["at"], known["then"]) == (began["at"], then)
    until = rows(cli.store, "SELECT suspended_until - suspended_at FROM token")[0][0]
    assert until is None if minutes is None else minutes * 60_000 <= until < (minutes + 1) * 60_000
    assert operations(cli, identifier) == ["token.issue", "token.suspend", "token.suspend"]
    assert_sound(cli)


def test_a_shorter_suspension_is_told_to_be_kept_and_a_harder_one_says_what_was_before(cli):
    identifier = issued(cli)
    suspended(cli, identifier, *SOON, "--reason", "compromised", "--note", "mine")
    harder = cli("revoke", identifier, "--suspend", "--yes", "--reason", "compromised", "--note", "the responder's")
    assert re.search(r"; until it is lifted; before: until \S+, then lifted\n", harder.out)
    nightly = cli("revoke", "--subject", "some*", "--suspend", *SOON, "--yes", "--reason", "unused", "--note", "nightly")
    assert (nightly.code, nightly.err) == (0, "")
    assert nightly.out.endswith("; kept: until it is lifted\n")
    assert "  because   the responder's\n" in cli("inspect", identifier).out
    assert [line["outcome"] for line in cli("audit", "log", "--operation", "token.suspend", "-o", "jsonl").lines] == [
        "done", "done", "kept"
    ]  # fmt: skip
    assert_sound(cli)
    # Shortening needs a lift first.
    assert cli("revoke", identifier, "--lift", "--yes", "-q").code == 0
    suspended(cli, identifier, *SOON)
    assert cli("inspect", identifier, "-o", "json").json["suspended"]["then"] == "lift"
    assert_sound(cli)


def test_a_suspension_ends_for_its_own_reason_and_not_for_that_of_a_softer_one(cli):
    identifier = issued(cli)
    suspended(cli, identifier, *LATER_DEAD, "--reason", "compromised")
    suspended(cli, identifier, *SOON, "--reason", "unused")
    cli.at(time.time_ns() // 1_000_000 + HOUR // 2, "list")
    known = cli("inspect", identifier, "-o", "json").json["revoked"]
    assert (known["reason"], known["note"]) == ("compromised", "its suspension ended")
    assert_sound(cli)


def test_a_suspension_kept_under_a_plan_made_before_is_not_lifted_by_it(cli):
    identifier = issued(cli)
    suspended(cli, identifier)
    assert cli("revoke", identifier, "--lift", "-n", "--out", "plan.json").code == 0
    suspended(cli, identifier, *SOON, "--reason", "compromised")
    assert cli("revoke", "--plan", "plan.json", "--yes", "-q").code == 3
    assert state(cli, identifier) == "suspended"


# Children that are suspended are revived by a lift alone


def family(cli):
    parent = issued(cli)
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "50m"))
    return parent, child, cli.id_of(cli.token("--parent", child, "--ttl", "40m"))


def test_suspending_again_without_the_children_revives_none(cli):
    parent, child, _ = family(cli)
    suspended(cli, parent)
    done = cli("revoke", parent, "--suspend", "--keep-children", "--yes")
    assert done.code == 0
    assert done.out.endswith("; kept: until it is lifted; its children stay suspended with it\n")
    assert state(cli, child) == "suspended"
    suspended(cli, parent, "--for", "10m", "--then", "lift", "--keep-children")
    assert state(cli, child) == "suspended"
    assert_sound(cli)
    assert cli("revoke", parent, "--lift", "--yes", "-q").code == 0
    suspended(cli, parent, "--keep-children")
    assert state(cli, child) == "active"
    suspended(cli, parent)
    assert state(cli, child) == "suspended"
    assert_sound(cli)


@pytest.mark.parametrize("end", [(), SOON, SOON_DEAD], ids=str)
def test_revoking_a_suspended_parent_without_its_children_leaves_them_suspended_as_they_were(cli, end):
    parent, child, grandchild = family(cli)
    suspended(cli, parent, *end)
    done = cli("revoke", parent, "--keep-children", "--yes")
    assert done.code == 0
    assert "; 2 children kept; 1 suspended without it, until " in done.out
    assert [state(cli, identifier) for identifier in (parent, child, grandchild)] == ["revoked", "suspended", "suspended"]
    assert operations(cli, child) == ["token.issue", "token.suspend"]
    assert_sound(cli)
    later = time.time_ns() // 1_000_000 + HOUR // 2
    cli.at(later, "list")
    after = "revoked" if "revoke" in end else "active" if end else "suspended"
    assert cli.at(later, "inspect", grandchild, "-o", "json").json["state"] == after
    if not end:
        assert cli("revoke", child, "--lift", "--yes", "-q").code == 0
        assert state(cli, grandchild) == "active"
    assert_sound(cli)


@pytest.mark.parametrize("between", ["--suspend", None], ids=["suspended", "revoked"])
def test_a_child_that_kept_its_own_does_not_hide_them_from_the_suspension_above(cli, between):
    parent, child, grandchild = family(cli)
    cli("revoke", child, *([between] if between else []), "--keep-children", "--yes", "-q")
    suspended(cli, parent)
    assert state(cli, grandchild) == "suspended"
    assert cli("revoke", parent, "--keep-children", "--yes").code == 0
    assert state(cli, grandchild) == "suspended"
    assert cli("revoke", grandchild, "--lift", "--yes").code == 0
    assert state(cli, grandchild) == "active", "its own parent kept it"
    assert_sound(cli)


@pytest.mark.parametrize("order", [1, -1], ids=["parent first", "child first"])
def test_a_child_named_beside_its_suspended_parent_leaves_its_own_suspended(cli, order):
    parent, child, grandchild = family(cli)
    suspended(cli, parent)
    assert cli("revoke", *[parent, child][::order], "--keep-children", "--yes").code == 0
    assert [state(cli, identifier) for identifier in (parent, child, grandchild)] == ["revoked", "revoked", "suspended"]
    assert_sound(cli)


def test_kept_children_die_with_a_parent_that_was_never_delivered(cli):
    parent, child, _ = family(cli)
    suspended(cli, parent, "--keep-children")
    change(cli.store, f"UPDATE token SET delivered_at = NULL WHERE id = '{parent}'")
    later = time.time_ns() // 1_000_000 + 120_000
    assert cli.at(later, "inspect", child, "-o", "json").json["state"] == "revoked"
    assert cli.at(later, "list").out == ""
    assert operations(cli, parent)[-1] == "token.revoke"
    assert state(cli, child) == "revoked"
    assert_sound(cli)


def test_a_suspended_token_can_be_revoked_and_then_not_lifted(cli):
    identifier = issued(cli)
    suspended(cli, identifier, "--for", "10m", "--then", "lift")
    done = cli("revoke", identifier, "--yes", "-o", "json")
    assert (done.code, done.json["targets"][0]["state_before"]) == (0, "suspended")
    assert cli("revoke", identifier, "--lift", "--yes").code == 3
    later = time.time_ns() // 1_000_000 + HOUR // 2
    cli.at(later, "list")
    assert cli.at(later, "inspect", identifier, "-o", "json").json["state"] == "revoked"
    assert_sound(cli)


def test_a_lift_by_selector_takes_the_suspended_ones(cli):
    ids = [issued(cli) for _ in range(3)]
    suspended(cli, ids[0])
    suspended(cli, ids[1])
    done = cli("revoke", "--lift", "--subject", "someone", "--expect", "2", "--yes", "-o", "json")
    assert (done.code, outcomes(done)) == (0, dict.fromkeys(ids[:2], "lifted"))
    assert cli("revoke", "--lift", "--subject", "someone", "--yes").code == 5
    everything = cli("revoke", "--lift", "--state", "suspended", "--yes")
    assert (everything.code, "every token" in everything.err) == (2, True)


def test_expect_counts_what_would_be_suspended(cli):
    ids = [issued(cli) for _ in range(2)]
    cli("revoke", ids[0], "--yes")
    wrong = cli("revoke", *ids, "--suspend", "--expect", "2", "--yes")
    assert (wrong.code, wrong.err) == (6, "tokenctl: --expect 2, but 1 would be suspended: nothing was touched\n")
    assert state(cli, ids[1]) == "active"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("--for", "2h", "--then", "lift"), "--for and --then: add --suspend"),
        (("--suspend", "--for", "2h"), "--for and --then: one needs the other"),
        (("--suspend", "--then", "lift"), "--for and --then: one needs the other"),
        (("--suspend", "--for", "2h", "--then", "die"), "--then: lift or revoke"),
        (("--suspend", "--for", "2", "--then", "lift"), "--for: not a duration"),
        (("--suspend", "--for", "0s", "--then", "lift"), "--for: a duration is more than 0s"),
        (("--suspend", "--lift"), "--lift: goes with neither"),
        (("--lift", "--for", "2h", "--then", "lift"), "--lift: goes with neither"),
        (("--lift", "--keep-children"), "--lift: goes with neither"),
        (("--suspend", "--for"), "requires an argument"),
    ],
)
def test_a_combination_that_says_nothing_clear_is_usage(cli, arguments, fault):
    done = cli("revoke", UNKNOWN, "--yes", *arguments)
    assert (done.code, done.out) == (2, "")
    assert fault in done.err
    assert list(cli.home.iterdir()) == []


def test_a_dry_run_says_what_would_be_suspended_or_lifted(cli):
    ids = [issued(cli) for _ in range(2)]
    suspended(cli, ids[0])
    before = cli("audit", "log").out
    shown = cli("revoke", *ids, "--suspend", "-n")
    assert (shown.code, shown.out) == (
        0, f"{ids[0]}\twould be suspended\tis suspended\n{ids[1]}\twould be suspended\tis active\n"
    )  # fmt: skip
    shown = cli("revoke", *ids, UNKNOWN, "--lift", "-n")
    assert (shown.code, shown.out) == (
        5, f"{ids[0]}\twould be lifted\tis suspended\n{ids[1]}\twould be lifted\tis active\n{UNKNOWN}\tunknown\tnot in local\n"
    )  # fmt: skip
    assert cli("audit", "log").out == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE token SET suspended_until = 1, suspended_then = 'lift'",
        "UPDATE token SET suspended_at = NULL",
        "UPDATE token SET suspended_at = NULL, suspended_until = NULL, suspended_then = NULL",
        "UPDATE token SET suspended_then = 'lift'",
        "UPDATE token SET children_kept = 1",
    ],
)
def test_a_changed_suspension_is_found_and_revives_nothing(cli, damage):
    token = cli.token("--ttl", "1h")
    identifier = cli.id_of(token)
    suspended(cli, identifier, "--for", "30m", "--then", "revoke")
    change(cli.store, damage)
    assert cli("inspect", "-", "--any-audience", input=token).code in (3, 10)
    assert cli("list").code == 10
    assert cli("inspect", "-", "--any-audience", input=token).code in (3, 10)
    lift = cli("revoke", identifier, "--lift", "--yes")
    assert lift.code == 11
    assert "unverified" in lift.out
    assert "token.lift" not in operations(cli, identifier)
    verified = cli("audit", "verify")
    assert verified.code == 10
    assert "its suspension" in verified.out + verified.err


def test_an_old_row_put_back_is_not_lifted_when_its_time_comes(cli):
    token = cli.token("--ttl", "1h")
    identifier = cli.id_of(token)
    suspended(cli, identifier, "--for", "1s", "--then", "lift")
    columns = "mac, leaf, suspended_at, suspended_until, suspended_then, revoked_note"
    (row,) = rows(cli.store, f"SELECT {columns} FROM token")
    suspended(cli, identifier)
    with database(cli.store) as connection:
        connection.execute(f"UPDATE token SET ({columns}) = (?, ?, ?, ?, ?, ?)", row)
    time.sleep(1.1)
    assert cli("list").code == 10
    assert "token.lift" not in operations(cli, identifier)
    assert cli("inspect", "-", "--any-audience", input=token).code in (3, 10)


def test_a_broken_row_whose_lift_is_due_costs_no_list_the_lock(cli):
    identifier = issued(cli)
    suspended(cli, identifier, "--for", "1s", "--then", "lift")
    change(cli.store, "UPDATE token SET note = 'changed'")
    time.sleep(1.1)
    lock = cli.store.parent / "store.lock"
    lock.unlink()
    assert cli("list").code == 10
    assert not lock.exists()


def test_a_quarantined_store_suspends_and_lifts_nothing(cli):
    first, other = issued(cli), issued(cli)
    suspended(cli, first, "--for", "10m", "--then", "lift")
    cli.anchor.write_text("damaged")
    refused = cli("revoke", first, "--lift", "--yes")
    assert (refused.code, refused.out) == (10, "")
    assert "the store is quarantined" in refused.err
    suspended(cli, other)
    later = time.time_ns() // 1_000_000 + HOUR // 2
    assert cli.at(later, "revoke", UNKNOWN, "--yes").code == 5
    assert "token.lift" not in operations(cli, first)
    assert cli("store", "release", "--reason", "known", "--yes").code == 0
    assert cli("revoke", first, "--lift", "--yes").code == 0


def test_a_note_of_a_suspension_from_outside_is_escaped(cli):
    identifier = issued(cli)
    suspended(cli, identifier, "--note", "a\x1b[31m\u202eb")
    screen = cli("inspect", identifier).out
    assert "a\\x1b[31m\\u202eb" in screen
    assert "\x1b" not in screen


def test_json_of_a_suspension_has_every_key(cli):
    identifier = issued(cli)
    done = cli("revoke", identifier, "--suspend", "--for", "1d", "--then", "lift", "--yes", "-o", "jsonl")
    (line,) = done.lines
    assert json.dumps(sorted(line)) == json.dumps(
        sorted(["id", "outcome", "state_before", "at", "by", "reason", "offline_until", "children", "places", "probe",
                "detail", "dry_run", "request_id"])
    )  # fmt: skip
    assert (line["outcome"], line["state_before"]) == ("suspended", "active")
