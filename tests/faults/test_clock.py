"""A clock that jumps can delay or deny; it never revives, and no instant makes a trace."""

from __future__ import annotations

import time

import pytest

from tests.conftest import Cli, Result
from tests.faults.conftest import ISSUE, assert_refused, assert_sound, change, rows

_DAY = 86_400_000
_YEAR = 365 * _DAY
_INSTANTS = {
    "before the epoch": -1, "1970": 0, "1970 and a moment": 1, "2001": 1_000_000_000_000, "2038": 2_147_483_648_000,
    "2106": 4_294_967_296_000, "9999": 253_402_300_799_000, "10000": 253_402_300_800_000, "the last": 2**63 - 1,
}  # fmt: skip


def _now() -> int:
    return time.time_ns() // 1_000_000


def test_a_clock_set_back_leaves_active_tokens_active_and_ends_nothing(cli: Cli):
    token = cli.id_of(cli.token())
    for back in (_DAY, _YEAR, _now()):
        assert cli.at(_now() - back, "inspect", token, "-q").code == 0


@pytest.mark.parametrize("back", [_DAY, _YEAR, 3_000_000_000_000])
def test_a_clock_set_back_does_not_revive_what_ended(cli: Cli, back: int):
    now = _now()
    revoked = cli.id_of(cli.token())
    expired = cli.id_of(cli.token("--ttl", "1m"))
    assert cli("revoke", revoked, "--yes", "-q").code == 0
    # A record made later than the end of the token: no reading of the clock goes behind it.
    assert cli.at(now + 120_000, *ISSUE).code == 0
    for identifier in (revoked, expired):
        assert cli.at(now - back, "inspect", identifier).code == 3
    listed = cli.at(now - back, "list")
    assert listed.code == 0
    assert expired not in listed.out
    assert revoked not in listed.out


def test_an_issue_is_refused_only_when_the_clock_stands_over_five_minutes_behind_the_last_record(cli: Cli):
    cli.token()
    (last,) = rows(cli.store, "SELECT max(time) FROM record")[0]
    behind = int(str(last)) - 300_000
    refused = cli.at(behind - 1, *ISSUE)
    assert_refused(refused, 7)
    assert "behind the last record" in refused.err
    assert rows(cli.store, "SELECT count(*) FROM token") == [(1,)]
    assert cli.at(behind, *ISSUE).code == 0


def test_a_clock_set_back_still_revokes_and_the_record_is_not_older_than_the_one_before(cli: Cli):
    token = cli.id_of(cli.token())
    assert cli.at(_now() - _YEAR, "revoke", token, "--yes", "-q").code == 0
    assert cli("inspect", token, "-q").code == 3
    times = [row[0] for row in rows(cli.store, "SELECT time FROM record ORDER BY seq")]
    assert times == sorted(times)
    assert cli("audit", "verify", "-q").code == 0


def test_a_year_ahead_everything_has_ended_and_back_again_nothing_recorded_is_lost(cli: Cli):
    now = _now()
    token = cli.id_of(cli.token())
    assert cli.at(now + _YEAR, "inspect", token).code == 3
    # Only looked: with the clock right again it is active.
    assert cli("inspect", token, "-q").code == 0
    ahead = cli.at(now + _YEAR, *ISSUE)
    assert ahead.code == 0
    # A record of next year: what had ended by then stays ended, and no token is made on the wrong clock.
    assert cli("inspect", token, "-q").code == 3
    assert_refused(cli(*ISSUE), 7)
    assert cli("revoke", token, "--yes", "-q").code == 0
    assert cli("audit", "verify", "-q").code == 0


@pytest.mark.parametrize("name", _INSTANTS)
def test_at_any_instant_every_verb_answers_without_a_trace(cli: Cli, name: str):
    instant = _INSTANTS[name]
    token = cli.id_of(cli.token())
    jwt = cli.token("--format", "jwt", "--audience", "api")
    for command in (
        ("inspect", token), ("inspect", token, "-o", "json"), ("list",), ("list", "--state", "all", "-o", "json"),
        ("list", "--expires-before", "+7d", "--issued-after", "-7d"), ("audit", "log", "--since", "2h"), ("audit", "verify"),
        ("rotate-keys", "status"), ("rotate-keys", "jwks"), ISSUE, ("issue", "--subject", "x", "--not-before", "+1h"),
        ("revoke", token, "--yes", "-o", "json"), ("rotate-keys",), ("rotate-keys", "--if-older-than", "1s", "--unobserved"),
        ("rotate-keys", "-o", "json", "--unobserved"), ("rotate-keys", "rollback"), ("rotate-keys", "status"),
    ):  # fmt: skip
        done = cli.at(instant, *command)
        assert done.code in (0, 2, 3, 6, 7, 9, 12), (command, done)
        assert "a bug" not in done.err
        assert "Traceback" not in done.err
    shown = cli.at(instant, "inspect", "-", "--audience", "api", input=jwt)
    assert shown.code in (0, 3), shown
    assert cli("inspect", token, "-q").code == 3
    assert cli("audit", "verify", "-q").code == 0


@pytest.mark.parametrize("name", _INSTANTS)
def test_a_first_issue_at_any_instant_works_or_is_refused(cli: Cli, name: str):
    instant = _INSTANTS[name]
    issued = cli.at(instant, *ISSUE)
    assert issued.code in (0, 7, 9, 12), issued
    assert "a bug" not in issued.err
    if issued.code == 0:
        assert cli.at(instant, "inspect", "-", "-q", input=issued.out).code == 0
        assert cli.at(instant + 16 * 60_000, "inspect", "-", input=issued.out).code == 3
    else:
        assert issued.out == ""


# A corrected clock


def _standing(cli: Cli, instant: int, identifiers: list[str]) -> dict[str, bool]:
    return {identifier: cli.at(instant, "inspect", identifier, "-q").code == 0 for identifier in identifiers}


def _accept(cli: Cli, instant: int) -> Result:
    done = cli.at(instant, "store", "accept-clock", "--yes", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert_sound(cli)
    return done


def test_what_the_false_time_ended_is_never_accepted_again(cli: Cli):
    ttls = ("1m", "2h", "12h", "24h")
    short = {ttl: cli.id_of(cli.token("--ttl", ttl)) for ttl in ttls}
    jwt = cli.token("--ttl", "12h", "--format", "jwt", "--audience", "api")
    long = cli.id_of(cli.token("--ttl", "30d", "--kind", "personal", "--scope", "a"))
    child = cli.id_of(cli.token("--ttl", "10h", "--parent", short["12h"]))
    revoked = cli.id_of(cli.token("--ttl", "24h"))
    cli("revoke", revoked, "--yes", "-q")
    now = _now()  # behind all that was issued until here
    early = cli.at(now + _DAY - 3_600_000, *ISSUE, "--ttl", "24h").out.split("_")[2]
    everyone = [*short.values(), long, child, revoked, early]
    before = _standing(cli, now, everyone)
    _accept(cli, now)
    after = _standing(cli, now, everyone)
    assert [identifier for identifier in everyone if after[identifier] and not before[identifier]] == []
    # Only what outlives the false time and was issued before it goes on.
    assert {identifier for identifier in everyone if after[identifier]} == {short["24h"], long}
    assert cli.at(now, "inspect", "-", "-q", "--audience", "api", input=jwt).code == 3
    assert cli.at(now, "list", "-q").out.count("\n") == 2
    # Its lifetime was measured on the wrong clock: it would have lived a day too long.
    assert before[early] is True
    assert cli.at(now, *ISSUE).code == 0
    assert_sound(cli)


def test_a_token_whose_delivery_was_awaited_when_time_ran_ahead_stays_denied(cli: Cli):
    now = _now()
    token = cli.id_of(cli.token("--ttl", "24h"))
    change(cli.store, "UPDATE token SET delivered_at = NULL")
    cli.at(now + _DAY // 2, "revoke", cli.id_of(cli.token()), "--yes", "-q")
    assert cli.at(now, "inspect", token, "-q").code == 3
    _accept(cli, now)
    assert cli.at(now, "inspect", token, "-q").code == 3
    assert rows(cli.store, f"SELECT reason FROM token WHERE id = '{token}'") == [("undelivered",)]


def _suspended(cli: Cli, *arguments: str) -> str:
    token = cli.id_of(cli.token("--ttl", "30d", "--kind", "personal", "--scope", "a"))
    assert cli("revoke", token, "--suspend", *arguments, "--yes", "-q").code == 0
    return token


@pytest.mark.parametrize("keep", [False, True], ids=["with its children", "without them"])
def test_a_suspension_lifted_by_the_false_time_returns_with_the_right_one_and_ends_as_it_was_to(cli: Cli, keep: bool):
    now = _now()
    token = _suspended(cli, "--for", "5d", "--then", "lift", *(["--keep-children"] if keep else []))
    (until,) = rows(cli.store, "SELECT suspended_until FROM token")[0]
    assert token in cli.at(now + 10 * _DAY, "list", "--state", "active").out
    done = cli("store", "accept-clock", "--yes", "-o", "json")
    assert (done.code, done.json["suspended"], done.json["ended"]) == (0, [token], [])
    assert rows(cli.store, "SELECT suspended_until, suspended_then, children_kept FROM token") == [(until, "lift", int(keep))]
    assert cli("inspect", token, "-q").code == 3
    assert_sound(cli)
    assert cli.at(now + 4 * _DAY, "list", "--state", "active").out == ""
    assert token in cli.at(now + 6 * _DAY, "list", "--state", "active").out
    assert_sound(cli)


def test_a_suspension_that_had_ended_by_the_right_time_or_was_lifted_by_a_person_stays_lifted(cli: Cli):
    now = _now()
    ended, ordered = (_suspended(cli, "--for", duration, "--then", "lift") for duration in ("1d", "5d"))
    ahead = now + 10 * _DAY
    assert cli.at(now + 3 * _DAY, "revoke", ordered, "--lift", "--yes", "-q").code == 0
    cli.at(ahead, "list")
    done = cli.at(now + 2 * _DAY, "store", "accept-clock", "--yes", "-o", "json")
    assert (done.code, done.json["suspended"]) == (0, [])
    assert _standing(cli, now + 2 * _DAY, [ended, ordered]) == {ended: True, ordered: True}
    assert_sound(cli)


def test_nothing_is_lifted_while_the_clock_stands_behind_the_log(cli: Cli):
    now = _now()
    token = _suspended(cli, "--for", "5d", "--then", "lift")
    # A record from ahead of the clock, by a verb that records nothing of what came due.
    assert cli.at(now + 10 * _DAY, "revoke", token, "--dry-run", "--out", "plan.json").code == 0
    assert token in cli("list", "--state", "suspended").out
    assert cli("revoke", token, "--suspend", "--yes", "-q").code == 0
    assert cli("inspect", token, "-q").code == 3
    assert cli("audit", "log", "--operation", "token.lift").out == ""
    assert_sound(cli)


def test_a_lift_that_the_acceptance_left_out_is_found(cli: Cli):
    token = _suspended(cli, "--for", "5d", "--then", "lift")
    assert cli.at(_now() + 10 * _DAY, "list").code == 0
    change(cli.store, "UPDATE record SET operation = 'token.left' WHERE operation = 'token.lift'")
    assert cli("store", "accept-clock", "--yes", "-q").code == 10
    change(cli.store, "UPDATE record SET operation = 'token.lift' WHERE operation = 'token.left'")
    verified = cli("audit", "verify")
    flaw = f"flaw: token {token}: lifted ahead of the clock that record 5 accepted, and not suspended again\n"
    assert (verified.code, flaw in verified.out) == (10, True)


def test_the_clock_may_jump_and_be_accepted_again_and_again(cli: Cli):
    now = _now()
    everyone = [cli.id_of(cli.token("--ttl", ttl)) for ttl in ("1h", "5h", "9h", "13h")]
    ended: set[str] = set()
    for step, jump in enumerate((2, 6, 4, 400, 10)):
        instant = now + step * 60_000
        ahead = cli.at(instant + jump * 3_600_000, *ISSUE)
        assert ahead.code == 0, ahead
        everyone.append(ahead.out.split("_")[2])
        ended |= {identifier for identifier, active in _standing(cli, instant, everyone).items() if not active}
        _accept(cli, instant)
        standing = _standing(cli, instant, everyone)
        assert [identifier for identifier in ended if standing[identifier]] == []
        fresh = cli.at(instant, *ISSUE)
        assert fresh.code == 0
        everyone.append(fresh.out.split("_")[2])
    assert len(rows(cli.store, "SELECT 1 FROM record WHERE operation = 'store.clock'")) == 5


def test_a_clock_accepted_and_then_farther_back_accepted_again_revives_nothing(cli: Cli):
    now = _now()
    token = cli.id_of(cli.token("--ttl", "1h"))
    assert cli.at(now + 2 * 3_600_000, *ISSUE).code == 0
    _accept(cli, now + 3_600_000 + 60_000)  # the token has ended by this clock too
    assert cli.at(now, "inspect", token, "-q").code == 3
    _accept(cli, now)
    assert cli.at(now, "inspect", token, "-q").code == 3


def test_a_time_that_goes_back_without_an_acceptance_is_still_found(cli: Cli):
    cli.token()
    assert cli.at(_now() + _YEAR, *ISSUE).code == 0
    _accept(cli, _now())
    change(cli.store, "UPDATE record SET time = 5 WHERE seq = 3")
    assert "flaw: record 4 is older" not in cli("audit", "verify").out
    assert "flaw: record 3 is older than the one before" in cli("audit", "verify").out


def test_a_writer_of_the_store_cannot_turn_the_clock_back(cli: Cli):
    token = cli.id_of(cli.token("--ttl", "1h"))
    assert cli.at(_now() + _DAY, *ISSUE).code == 0
    change(cli.store, "UPDATE head SET time = 5")
    assert cli("inspect", token, "-q").code in (3, 10)
    assert cli(*ISSUE).code == 10
    assert cli("store", "accept-clock", "--yes").code == 10


@pytest.mark.parametrize("put_back", [False, True], ids=["still hidden", "put back"])
def test_a_row_hidden_from_the_acceptance_is_found(cli: Cli, put_back: bool):
    token = cli.id_of(cli.token("--ttl", "1h"))
    assert cli.at(_now() + _DAY, *ISSUE).code == 0
    expires = rows(cli.store, f"SELECT expires_at FROM token WHERE id = '{token}'")[0][0]
    change(cli.store, f"UPDATE token SET expires_at = 5 WHERE id = '{token}'")
    done = cli("store", "accept-clock", "--yes", "-q")
    assert (done.code, done.out) == (10, "")
    assert "does not check out" in done.err
    if put_back:
        change(cli.store, f"UPDATE token SET expires_at = {expires} WHERE id = '{token}'")
        assert cli("store", "release", "--reason", "r", "--yes", "-q").code == 0
        verified = cli("audit", "verify")
        assert f"flaw: token {token}: it had ended when record 4 accepted the clock, and is not revoked\n" in verified.out
    assert cli("inspect", token, "-q").code == 10
    assert cli("audit", "verify", "-q").code == 10
