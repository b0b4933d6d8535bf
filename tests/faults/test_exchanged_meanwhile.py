"""A store that is restored while it is checked: what the check found is of the one before."""

from __future__ import annotations

from tests.commands.backups import age_key
from tests.faults.conftest import change, rows, waiting

TAMPER = "UPDATE token SET owner = 'mallory'"


def test_a_verdict_on_the_store_before_quarantines_no_restored_one(cli, tmp_path):
    key = age_key(tmp_path)
    cli.token()
    assert cli("store", "backup", "b.age", "--recipient", key.recipient, "-q").code == 0
    change(cli.store, TAMPER)
    restore = ("store", "restore", "b.age", "--identity", key.path, "--yes", "-q")
    with waiting(cli, "store.lock", *restore, then=[("audit", "verify", "-q")]) as done:
        pass
    assert [result.code for result in done] == [0, 10], done
    assert "warning: the store was exchanged while it was checked, and is not quarantined: run again\n" in done[1].err
    assert rows(cli.store, "SELECT quarantine FROM head") == [(None,)]
    assert cli("audit", "verify", "-q").code == 0


def test_a_change_by_others_meanwhile_hinders_no_quarantine(cli):
    cli.token()
    change(cli.store, TAMPER)
    issue = ("issue", "--subject", "s", "-q")
    with waiting(cli, "store.lock", *issue, then=[("audit", "verify", "-q")]) as done:
        pass
    assert [result.code for result in done] == [0, 10], done
    assert rows(cli.store, "SELECT quarantine IS NULL FROM head") == [(0,)]
