"""A clock that jumps can delay or deny; it never revives, and no instant makes a trace."""

from __future__ import annotations

import time

import pytest

from tests.conftest import Cli
from tests.faults.conftest import ISSUE, assert_refused, rows

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
        ("revoke", token, "--yes", "-o", "json"),
    ):  # fmt: skip
        done = cli.at(instant, *command)
        assert done.code in (0, 2, 3, 7, 9, 12), (command, done)
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
