"""Damaged, foreign, newer and old stores: named, exit 10 (newer: 9), and never "active"."""

from __future__ import annotations

import shutil

import pytest

from tests.faults.conftest import ISSUE, assert_refused, assert_sound, change, rows

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"

_PAGE = 4096


def _assert_all_verbs_refuse(cli, identifier, code):
    for command in (("inspect", identifier), ISSUE, ("list",), ("revoke", identifier, "--yes")):
        refused = cli(*command)
        assert (refused.code, refused.out) == (code, ""), (command, refused)
        assert "a bug" not in refused.err
    assert cli("audit", "verify", "-q").code == code


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * _PAGE, b"hello\n", b"x" * 3 * _PAGE, b"SQLite format 3\0"],
    ids=["empty", "zeros", "short text", "long text", "a header's start"],
)
def test_a_file_that_is_no_database_is_no_store(cli, content):
    token = cli.id_of(cli.token())
    cli.store.write_bytes(content)
    _assert_all_verbs_refuse(cli, token, 10)
    assert cli.store.read_bytes() == content


def test_a_database_of_another_application_is_no_store(cli):
    token = cli.id_of(cli.token())
    change(cli.store, "PRAGMA application_id = 1")
    _assert_all_verbs_refuse(cli, token, 10)


def test_a_store_of_a_newer_version_is_left_alone(cli):
    token = cli.id_of(cli.token())
    change(cli.store, "PRAGMA user_version = 1000000")
    _assert_all_verbs_refuse(cli, token, 9)
    assert "newer" in cli("list").err
    assert rows(cli.store, "PRAGMA user_version") == [(1000000,)]


def test_a_store_of_an_unknown_older_version_is_not_believed(cli):
    token = cli.id_of(cli.token())
    for version in (0, -1):
        change(cli.store, f"PRAGMA user_version = {version}")
        assert_refused(cli("inspect", token), 10)
        assert_refused(cli(*ISSUE), 10)


def test_every_corrupted_page_is_found_and_none_makes_a_token_active(cli):
    token = cli.id_of(cli.token())
    other = cli.id_of(cli.token())
    assert cli("revoke", other, "--yes", "-q").code == 0
    whole, anchor = cli.store.read_bytes(), cli.anchor.read_bytes()
    pages = len(whole) // _PAGE
    assert pages > 15
    for page in range(pages):
        cli.anchor.write_bytes(anchor)  # the check before left its verdict, and went on with it
        cli.store.write_bytes(whole[: page * _PAGE] + bytes([0xA5]) * _PAGE + whole[(page + 1) * _PAGE :])
        assert cli("audit", "verify", "-q").code == 10, page
        assert cli("inspect", other, "-q").code in (3, 10), page
        shown = cli("inspect", token, "-q")
        assert shown.code in (0, 5, 10), page
        assert "a bug" not in shown.err
    cli.anchor.write_bytes(anchor)
    cli.store.write_bytes(whole)
    assert_sound(cli)


@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.7, 0.99])
@pytest.mark.parametrize("even", [True, False], ids=["at a page", "within a page"])
def test_a_cut_store_is_named_damaged(cli, part, even):
    token = cli.id_of(cli.token())
    whole = cli.store.read_bytes()
    length = int(len(whole) * part) // _PAGE * _PAGE + (0 if even else 777)
    cli.store.write_bytes(whole[: max(length, _PAGE)])
    assert cli("audit", "verify", "-q").code == 10
    assert cli("inspect", token).code == 10
    assert_refused(cli(*ISSUE), 10)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER planted AFTER INSERT ON token BEGIN DELETE FROM record; END",
        "CREATE VIEW planted AS SELECT * FROM token",
        "CREATE TABLE planted (a)",
        "CREATE INDEX planted ON token (note)",
        "DROP INDEX key_active",
        "ALTER TABLE token ADD COLUMN planted TEXT",
    ],
)
def test_a_schema_that_was_not_made_here_is_refused(cli, statement):
    token = cli.id_of(cli.token())
    change(cli.store, statement)
    _assert_all_verbs_refuse(cli, token, 10)


# An old copy


@pytest.fixture
def old_copy(cli, tmp_path):
    """A store put back to an older copy; ``kept`` is active in it, ``lost`` was revoked after it was made."""
    kept, lost = cli.id_of(cli.token()), cli.id_of(cli.token())
    shutil.copy2(cli.store, tmp_path / "copy")
    assert cli("revoke", lost, "--yes", "-q").code == 0
    cli.token()
    shutil.copy2(tmp_path / "copy", cli.store)
    return kept, lost


def test_an_old_copy_never_calls_a_token_active(cli, old_copy):
    for identifier in old_copy:
        assert_refused(cli("inspect", identifier), 10)
    assert_refused(cli(*ISSUE), 10)
    assert_refused(cli("rotate-keys", "jwks"), 10)


def test_an_old_copy_is_called_truncated_with_the_number_of_lost_records(cli, old_copy):
    verified = cli("audit", "verify")
    assert verified.code == 10
    assert "TRUNCATED" in verified.out + verified.err
    assert "2 records behind" in verified.out + verified.err
    assert cli("audit", "verify", "-q").code == 10


def test_in_an_old_copy_revoking_works_and_does_not_hide_the_loss(cli, old_copy):
    kept, lost = old_copy
    for identifier in (lost, kept):
        assert cli("revoke", identifier, "--yes", "-q").code == 0
        assert cli("inspect", identifier, "-q").code == 3
    # As many records as the anchor says, and still not the log that was anchored.
    assert cli("audit", "verify", "-q").code == 10
    assert_refused(cli(*ISSUE), 10)
    assert cli("audit", "log").code == 0


def test_releasing_an_old_copy_lifts_the_quarantine_with_a_record(cli, old_copy):
    kept, lost = old_copy
    assert cli("revoke", lost, "--yes", "-q").code == 0
    assert cli("store", "release", "--reason", "restored", "--yes").code == 0
    assert cli("inspect", kept, "-q").code == 0
    assert cli("inspect", lost, "-q").code == 3
    assert cli(*ISSUE).code == 0
    assert_sound(cli)
    assert rows(cli.store, "SELECT count(*) FROM record WHERE operation = 'store.release'") == [(1,)]


def test_releasing_without_an_answer_releases_nothing(cli, old_copy):
    assert_refused(cli("store", "release", "--reason", "restored"), 2)
    assert_refused(cli("inspect", old_copy[0]), 10)


def test_an_old_anchor_beside_a_newer_store_is_no_fault(cli):
    token = cli.id_of(cli.token())
    old = cli.anchor.read_bytes()
    cli.token()
    cli.anchor.write_bytes(old)
    assert cli("inspect", token, "-q").code == 0
    assert_sound(cli)


def test_the_anchor_of_another_history_quarantines(cli):
    token = cli.id_of(cli.token())
    lines = cli.anchor.read_text().splitlines()
    whole = cli.store.read_bytes()
    for line in (1, 3, 4):
        cli.store.write_bytes(whole)  # the check before left its verdict in it
        changed = list(lines)
        changed[line] = ("1" if changed[line][0] != "1" else "2") + changed[line][1:]
        cli.anchor.write_text("\n".join(changed) + "\n")
        assert_refused(cli("inspect", token), 10)
        assert "DIVERGED" in cli("inspect", token).err
        assert cli("audit", "verify", "-q").code == 10
    for content in ("nonsense\n", "\n".join(lines)):
        cli.store.write_bytes(whole)
        cli.anchor.write_text(content)
        assert_refused(cli("inspect", token), 10)


def test_a_missing_anchor_is_warned_of_once_and_made_anew_by_the_next_write(cli):
    token = cli.id_of(cli.token())
    cli.anchor.unlink()
    shown = cli("inspect", token, "-q")
    assert shown.code == 0
    assert [line.split(":")[0] for line in shown.err.splitlines()] == ["warning"]
    assert not cli.anchor.exists()
    issued = cli(*ISSUE)
    assert issued.code == 0
    assert [line.split(":")[0] for line in issued.err.splitlines()] == ["warning"]
    assert cli.anchor.exists()
    assert cli("inspect", token, "-q").err == ""
    assert_sound(cli)


def test_a_store_that_is_gone_is_not_replaced_by_an_empty_one(cli):
    cli.token()
    cli.store.unlink()
    assert_refused(cli(*ISSUE), 10)
    assert not cli.store.exists()


@pytest.mark.parametrize(
    "verb",
    [
        ("list",), ("inspect", UNKNOWN), ("revoke", UNKNOWN, "--yes"), ("rotate-keys",), ("audit", "log"),
        ("audit", "show", UNKNOWN), ("audit", "verify"), ("audit", "review"), ("audit", "reconcile"), ("audit", "checkpoint"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_store_that_is_gone_is_not_taken_for_one_that_never_was(cli, verb):
    cli.token()
    cli.store.unlink()
    done = cli(*verb)
    assert (done.code, done.out) == (10, "")
    assert "the store ~/.local/share/tokenctl/local/store.db is gone, but its anchor is there" in done.err
    assert "hint: restore the store, or begin anew: rm ~/.local/state/tokenctl/local/head" in done.err
    cli.anchor.unlink()
    assert cli(*verb).code in (0, 5)


@pytest.mark.parametrize("table", ["meta", "head", "record", "token"])
def test_a_store_emptied_of_its_rows_is_not_believed(cli, table):
    token = cli.id_of(cli.token())
    change(cli.store, f"DELETE FROM {table}")
    assert cli("audit", "verify", "-q").code == 10
    assert cli("inspect", token).code == (5 if table == "token" else 10)
    assert cli(*ISSUE).code == 10


@pytest.mark.parametrize("name", ["store_id", "root_check", "root_place"])
def test_a_store_without_one_of_its_facts_is_not_believed(cli, name):
    token = cli.id_of(cli.token())
    change(cli.store, f"DELETE FROM meta WHERE name = '{name}'")
    for command in (("inspect", token), ISSUE, ("revoke", token, "--yes"), ("audit", "verify", "-q")):
        assert cli(*command).code == 10


# Quarantine and anchor


def put_back(cli, copy):
    """Put an old file of the store back, as whoever can write there does."""
    for companion in ("-wal", "-shm"):
        cli.store.with_name(f"store.db{companion}").unlink(missing_ok=True)
    shutil.copy2(copy, cli.store)


def sealed_by_hand(cli):
    assert cli("store", "seal", "--reason", "stolen", "-q").code == 0


def found_invalid(cli):
    """A row that was changed: the log itself is whole."""
    change(cli.store, "UPDATE token SET subject = 'another' WHERE rowid = 2")
    assert cli("audit", "verify", "-q").code == 10


def head_changed(cli):
    """The log is whole, and its head says something else."""
    change(cli.store, "UPDATE head SET time = time + 1")


def record_put_behind(cli):
    """The log goes on from what was anchored, with a record that nobody made."""
    change(
        cli.store,
        "INSERT INTO record SELECT seq + 1, time, operation, target, request, actor, body, zeroblob(32), nonce, ticket "
        "FROM record ORDER BY seq DESC LIMIT 1",
    )  # fmt: skip


@pytest.mark.parametrize("quarantine", [sealed_by_hand, found_invalid, head_changed, record_put_behind])
@pytest.mark.parametrize("anchored", [True, False])
def test_what_was_revoked_in_quarantine_is_missed_in_an_old_copy(cli, tmp_path, quarantine, anchored):
    token = cli.token()
    other = cli.id_of(cli.token())
    shutil.copy2(cli.store, tmp_path / "copy")
    quarantine(cli)
    assert cli("inspect", other, "-q").code == 10
    if not anchored:
        cli.anchor.unlink()
    assert cli("revoke", cli.id_of(token), "--yes", "-q").code == 0
    assert cli("inspect", "-", "-q", input=token).code == 3
    assert cli("inspect", other, "-q").code == 10  # the anchor that was written did not lift it
    assert cli("store", "info", "-o", "json").json["anchor"] == "agrees"
    put_back(cli, tmp_path / "copy")
    assert_refused(cli("inspect", "-", input=token), 10)
    assert "TRUNCATED" in cli("inspect", other).err


def behind(cli, copy):
    put_back(cli, copy)


def record_removed(cli, copy):
    change(cli.store, "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)")


def head_and_record_changed(cli, copy):
    change(
        cli.store, "UPDATE record SET hash = zeroblob(32) WHERE seq = 2", "UPDATE head SET time = time + 1"
    )  # fmt: skip


def anchor_of_another(cli, copy):
    text = cli.anchor.read_text().splitlines()
    cli.anchor.write_text("\n".join([text[0], text[1][::-1], *text[2:]]) + "\n")


def anchor_damaged(cli, copy):
    cli.anchor.write_text("nonsense\n")


@pytest.mark.parametrize("part", [behind, record_removed, head_and_record_changed, anchor_of_another, anchor_damaged])
def test_what_is_done_to_a_store_that_left_its_anchor_does_not_hide_that(cli, tmp_path, part):
    tokens = [cli.id_of(cli.token()) for _ in range(4)]
    shutil.copy2(cli.store, tmp_path / "copy")
    cli.token()
    cli.token()
    part(cli, tmp_path / "copy")
    anchor = cli.anchor.read_bytes()
    for token in tokens[:3]:
        assert cli("revoke", token, "--yes", "-q").code == 0
    assert cli("store", "seal", "--reason", "stolen", "-q").code == 0
    assert cli("audit", "verify", "-q").code == 10
    assert cli.anchor.read_bytes() == anchor
    assert_refused(cli("inspect", tokens[3]), 10)
    assert cli("store", "release", "--reason", "looked at", "--yes", "-q").code == 0
    assert cli.anchor.read_bytes() != anchor
    assert cli("store", "info", "-o", "json").json["anchor"] == "agrees"


def test_a_sealed_store_that_is_behind_its_anchor_says_both(cli, tmp_path):
    token = cli.token()
    sealed_by_hand(cli)
    shutil.copy2(cli.store, tmp_path / "copy")
    assert cli("revoke", cli.id_of(token), "--yes", "-q").code == 0
    put_back(cli, tmp_path / "copy")
    verdict = "TRUNCATED: the store is 1 record behind its anchor; SEALED: stolen"
    assert cli("store", "info", "-o", "json").json["quarantine"] == verdict
    other = cli.id_of(token)
    assert cli("revoke", "--suspend", other, "--yes", "-q").code == 0
    assert cli("store", "info", "-o", "json").json["quarantine"] == verdict  # as it is recorded now
    released = cli("store", "release", "--reason", "looked at", "--yes")
    assert (released.code, released.out) == (0, f"released\t{verdict}\n")
    assert cli("store", "info", "-o", "json").json["quarantine"] is None
