"""``audit verify``: every option, every verdict that a check gives, and what a check goes on from."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.commands.backups import age_key
from tests.conftest import Result
from tests.inprocess import InProcess
from tokenctl.audit import verified
from tokenctl.errors import TemporarilyUnavailable
from tokenctl.store import copies

UNKNOWN = "0352Ldy4SKzRSvwVvSWvL6"
LOCALLY = "OK (anchored locally only)"
HOUR = 3_600_000
MEMBERS = {
    "verdict", "flaws", "records", "tokens", "keys", "root", "log", "state", "since", "anchors", "required", "exported",
    "rewritable", "archived", "warnings",
}  # fmt: skip


@pytest.fixture
def cli(tmp_path) -> InProcess:
    return InProcess(tmp_path / "home")


@pytest.fixture
def head(cli, tmp_path) -> str:
    """A checkpoint of a store with one token that was kept elsewhere: of 3 records; a fourth follows."""
    cli.token()
    path = taken(cli, tmp_path / "kept.checkpoint")
    cli.token()
    return path


def taken(cli: InProcess, path: Path) -> str:
    done = cli("audit", "checkpoint", "--out", str(path))
    assert (done.code, done.out, done.err) == (0, "", "")
    return str(path)


def verify(cli: InProcess, *options: str, code: int = 0, input: str | None = None) -> dict[str, object]:
    done = cli("audit", "verify", *options, "-o", "json", input=input)
    assert (done.code, done.err) == (code, ""), done
    assert done.json.keys() == MEMBERS
    return done.json


def execute(cli: InProcess, sql: str, *values: object) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(cli.store, isolation_level=None)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def sealed(cli: InProcess) -> bool:
    return execute(cli, "SELECT quarantine FROM head") != [(None,)]


def records(cli: InProcess) -> int:
    return int(str(execute(cli, "SELECT max(seq) FROM record")[0][0]))


def remembered(cli: InProcess) -> Path:
    return cli.anchor.with_name("verified")


def refused(done: Result, code: int, message: str, hint: str | None = None) -> None:
    told = f"tokenctl: {message}\n" + (f"hint: {hint}\n" if hint else "")
    assert (done.code, done.out, done.err) == (code, "", told)


# What is asked


@pytest.mark.parametrize("options", [(), ("--full",), ("--state",), ("--quick",)], ids=" ".join)
def test_a_log_that_cannot_be_read_for_a_known_head_is_a_verdict_and_quarantined(cli, head, options):
    for _ in range(30):
        cli.token()
    verify(cli)
    whole = bytearray(cli.store.read_bytes())
    page = whole.index(b'"seq":2,') // 4096 * 4096
    whole[page : page + 4096] = b"\xa5" * 4096
    cli.store.write_bytes(whole)
    found = verify(cli, *options, "--known-head", head, code=10)
    assert found["verdict"] == "INVALID"
    assert "the log cannot be read through: the store's file is damaged" in found["flaws"]
    assert sealed(cli)


@pytest.mark.parametrize("other", [("--full",), ("--state",), ("--full", "--state")])
def test_a_quick_check_is_no_whole_one(cli, other):
    done = cli("audit", "verify", "--quick", *other)
    refused(done, 2, "--quick goes with neither --full nor --state", "--full --state is what no option checks")
    assert list(cli.home.iterdir()) == []


def test_a_key_goes_with_the_head_that_it_was_kept_with(cli):
    done = cli("audit", "verify", "--key", "k")
    refused(done, 2, "--key goes with --known-head", "tokenctl audit verify --known-head FILE --key VKEY")


@pytest.mark.parametrize("key", ["k", "a+b", "a+00000000+AAAA", "a b+00000000+AAAA", "+", ""])
def test_what_is_no_key_is_refused_before_anything_is_read(cli, head, key):
    done = cli("audit", "verify", "--known-head", head, "--key", key)
    refused(done, 2, "this is no verifier key of a log", "NAME+HASH+KEY: tokenctl audit checkpoint --key")
    assert not sealed(cli)


def test_without_a_store_there_is_nothing_wrong_and_nothing_is_made(cli, tmp_path):
    for options in ((), ("--full",), ("--state",), ("--quick",)):
        told = verify(cli, *options)
        assert (told["verdict"], told["records"], told["root"], told["rewritable"]) == ("UNANCHORED", 0, None, 0)
    assert verify(cli, "--require-anchor", code=10)["required"] is True
    assert cli("audit", "verify").out.splitlines()[0] == "UNANCHORED: there is no store yet, and nothing to check"
    shown = cli("audit", "show", UNKNOWN)
    assert (shown.code, shown.out) == (5, "")
    assert shown.err.startswith(f"tokenctl: no record of {UNKNOWN}: profile local has no store (")
    assert list(cli.home.iterdir()) == []


def test_a_head_of_a_store_that_is_gone_is_not_compared_with_nothing(cli, head):
    shutil.rmtree(cli.home)
    cli.home.mkdir(mode=0o700)
    refused(cli("audit", "verify", "--known-head", head), 5, "profile local has no store", "the first issue makes it")


# What is said


def test_each_extent_says_what_it_looked_at(cli):
    cli.token()
    counts = "2 records, 1 token, 0 keys\n"
    rows = "no head of this log ever left the store: the holder of its key could rewrite all 2\n"
    for options, line, counted in (
        ((), "log and state check out; the anchor beside them agrees", counts),
        (("--full", "--state"), "log and state check out; the anchor beside them agrees", counts),
        (("--full",), "the log checks out; the anchor beside them agrees", "2 records, 0 tokens, 0 keys\n"),
        (("--state",), "rows check out; the anchor beside them agrees", counts),
        (("--quick",), "log and state check out; the anchor beside them agrees",
         "2 records, 0 tokens, 0 keys\nchecked: what came behind record 2\n"),
    ):  # fmt: skip
        done = cli("audit", "verify", *options)
        assert (done.code, done.out, done.err) == (0, f"{LOCALLY}: {line}\n{counted}{rows}", ""), options


def test_as_json_all_is_told(cli, head, tmp_path):
    told = verify(cli, "--known-head", head)
    root = execute(cli, "SELECT root FROM head")[0][0]
    assert isinstance(root, bytes)
    known = json.loads(cli("audit", "checkpoint", "-o", "json").out)
    anchor = told["anchors"][0]
    assert set(anchor) == {"source", "size", "root", "agrees"}
    assert (anchor["source"], anchor["size"], anchor["agrees"]) == (head, 3, True)
    assert told == {
        "verdict": "OK", "flaws": [], "records": 4, "tokens": 2, "keys": 0, "root": known["root"], "log": True, "state": True,
        "since": None, "anchors": [anchor], "required": False, "exported": 3, "rewritable": 1, "archived": 0, "warnings": [],
    }  # fmt: skip
    assert root.hex() == known["root"]
    (line,) = cli("audit", "verify", "-o", "jsonl").lines
    assert line.keys() == MEMBERS
    assert (verify(cli, "--full")["log"], verify(cli, "--full")["state"]) == (True, False)
    assert (verify(cli, "--state")["log"], verify(cli, "--state")["state"]) == (False, True)


def test_a_head_kept_elsewhere_that_agrees_is_said_and_how_much_came_since(cli, head):
    done = cli("audit", "verify", "--known-head", head)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "OK: log and state check out; a head that was kept elsewhere agrees\n4 records, 2 tokens, 0 keys\n"
        "the head of 3 agrees: the holder of the log's key could rewrite the 1 since\n"
    )
    alone = cli("audit", "verify").out
    assert alone.endswith("the head of 3 left the store: the holder of the log's key could rewrite the 1 since\n")


def test_quiet_is_the_exit_code_alone(cli, head, tmp_path):
    for options in ((), ("--quick",), ("--known-head", head)):
        assert cli("audit", "verify", "-q", *options) == Result(0, "", "")
    assert cli("audit", "verify", "-q", "--require-anchor") == Result(10, "", "")
    execute(cli, "UPDATE record SET time = time + 1 WHERE seq = 2")
    assert cli("audit", "verify", "-q") == Result(10, "", "")
    assert sealed(cli)


def test_a_check_that_finds_nothing_records_nothing(cli, head):
    before = cli("audit", "log").out
    for options in ((), ("--quick",), ("--full",), ("--state",), ("--known-head", head)):
        verify(cli, *options)
    assert cli("audit", "log").out == before


def test_a_finding_seals_the_store_with_one_record_however_often_it_is_found(cli):
    cli.token()
    execute(cli, "UPDATE record SET time = time + 1 WHERE seq = 2")
    for _ in range(3):
        done = cli("audit", "verify")
        assert done.code == 10
        assert done.out.startswith("INVALID: something was changed\n")
        assert "\nflaw: record 2: its columns differ from its body\n" in done.out
        assert done.err == "hint: restore the newest copy, or accept this one: tokenctl store release --reason R\n"
    told = cli("audit", "log", "--operation", "store.seal", "-o", "jsonl").lines
    assert [(record["seq"], record["reason"]) for record in told] == [(3, "INVALID")]


@pytest.mark.parametrize("options", [(), ("--full",), ("--state",), ("--quick",)], ids=" ".join)
def test_a_store_sealed_by_hand_is_told_as_that(cli, options):
    cli.token()
    assert cli("store", "seal", "--reason", "r").code == 0
    told = verify(cli, *options, code=10)
    assert (told["verdict"], len(told["flaws"])) == ("SEALED", 1)
    assert cli("store", "release", "--reason", "r", "--yes").code == 0
    assert verify(cli, *options)["verdict"] == LOCALLY


# Heads that were kept elsewhere


def test_a_required_head_that_nobody_brings_is_missed_and_the_store_is_not_to_blame(cli, head):
    done = cli("audit", "verify", "--require-anchor")
    assert (done.code, done.err) == (10, "")
    assert done.out.splitlines()[0] == (
        "UNANCHORED: log and state check out, but no head that was kept elsewhere agrees, and one is required"
    )
    told = verify(cli, "--require-anchor", code=10)
    assert (told["verdict"], told["flaws"], told["required"], sealed(cli)) == ("UNANCHORED", [], True, False)
    assert verify(cli, "--require-anchor", "--known-head", head)["verdict"] == "OK"
    assert cli("issue", "--subject", "s", "-q").code == 0


def test_heads_come_from_files_and_from_stdin(cli, head, tmp_path):
    later = taken(cli, tmp_path / "later")
    told = verify(cli, "--known-head", "-", input=Path(head).read_text())
    assert [(one["source"], one["size"]) for one in told["anchors"]] == [("standard input", 3)]
    told = verify(cli, "--known-head", later, "--known-head", "-", "--known-head", head, input=Path(head).read_text())
    assert [(one["size"], one["agrees"]) for one in told["anchors"]] == [(4, True), (3, True), (3, True)]
    assert told["rewritable"] == 0
    twice = cli("audit", "verify", "--known-head", "-", "--known-head", "-", input=Path(head).read_text())
    refused(twice, 2, "standard input: this is no signed note: no signature stands under it")


def malformed(genuine: bytes) -> dict[str, bytes]:
    lines = genuine.decode().splitlines(keepends=True)
    return {
        "nothing": b"", "no text": b"x", "no UTF-8": b"\xff" + genuine, "a control character": b"\x1b" + genuine,
        "no signature": "".join(lines[:4]).encode(), "cut": genuine[:-20], "no last newline": genuine[:-1],
        "no size": "".join([lines[0], "many\n", *lines[2:]]).encode(),
        "a negative size": "".join([lines[0], "-3\n", *lines[2:]]).encode(),
        "a short root": "".join([*lines[:2], "AAAA\n", *lines[3:]]).encode(), "carriage returns": genuine.replace(b"\n", b"\r\n"),
        "too long": genuine * 1000,
    }  # fmt: skip


def test_what_is_no_checkpoint_is_malformed_and_nothing_is_checked(cli, head, tmp_path):
    path = tmp_path / "bad"
    for what, data in malformed(Path(head).read_bytes()).items():
        path.write_bytes(data)
        done = cli("audit", "verify", "--known-head", head, "--known-head", str(path))
        assert (done.code, done.out) == (2, ""), (what, done)
        assert done.err.startswith("tokenctl: "), what
        assert "\x1b" not in done.err
    for place in (tmp_path / "absent", tmp_path):
        done = cli("audit", "verify", "--known-head", str(place))
        assert (done.code, done.out) == (2, ""), done
    assert not sealed(cli)
    assert not remembered(cli).exists()


@pytest.mark.parametrize("spoil", ["of another log", "whose signature does not fit"])
def test_no_head_that_is_refused_hides_what_is_wrong_with_the_log(cli, head, tmp_path, spoil):
    """Whoever changed the log may have made the head not fit it: the log is judged before the head is refused."""
    if spoil == "of another log":
        other = InProcess(tmp_path / "other")
        other.token()
        presented, code = taken(other, tmp_path / "other.checkpoint"), 2
    else:
        presented, code = str(tmp_path / "forged.checkpoint"), 10
        Path(presented).write_text(Path(head).read_text().replace("\n3\n", "\n4\n", 1))
    done = cli("audit", "verify", "--known-head", presented)
    assert (done.code, done.out, sealed(cli)) == (code, "", False)
    execute(cli, "UPDATE record SET body = CAST(replace(body, 'someone', 'anybody') AS BLOB) WHERE seq = 2")
    found = verify(cli, "--known-head", presented, code=10)
    assert (found["verdict"], found["anchors"], sealed(cli)) == ("INVALID", [], True)
    assert "record 2 does not hash to its leaf" in found["flaws"]


def test_a_head_of_another_log_is_malformed_and_with_its_key_a_no_that_seals_nothing(cli, head, tmp_path):
    other = InProcess(tmp_path / "other")
    other.token()
    theirs = taken(other, tmp_path / "theirs")
    key = other("audit", "checkpoint", "--key").out.strip()
    mine, name = cli("audit", "checkpoint", "--key").out.partition("+")[0], key.partition("+")[0]
    done = cli("audit", "verify", "--known-head", theirs)
    hint = "name a checkpoint of this log, or the key that you kept with it: --key"
    refused(done, 2, f"{theirs} is a checkpoint of {name}, and this log is {mine}", hint)
    told = verify(cli, "--known-head", theirs, "--key", key, code=10)
    assert (told["verdict"], told["flaws"]) == ("DIVERGED", [f"{theirs} is a head of another log"])
    assert not sealed(cli)
    assert cli("issue", "--subject", "s", "-q").code == 0
    keyless = InProcess(tmp_path / "keyless")
    keyless.token()
    assert "and this log is without a key" in keyless("audit", "verify", "--known-head", theirs).err


def test_a_wrong_signature_and_a_missing_one_seal_nothing(cli, head, tmp_path):
    genuine = Path(head).read_text()
    name = genuine.partition("\n")[0]
    forged = tmp_path / "forged"
    forged.write_text(genuine.replace("\n3\n", "\n4\n", 1))
    done = cli("audit", "verify", "--known-head", str(forged))
    hint = "fetch it anew: nothing is wrong with the store"
    refused(done, 10, f"{forged}: the signature of {name} does not fit the text that it stands under", hint)
    other = InProcess(tmp_path / "other")
    other.token()
    stranger = Path(taken(other, tmp_path / "theirs")).read_text()
    forged.write_text(stranger.replace(stranger.partition("\n")[0], name, 1))
    done = cli("audit", "verify", "--known-head", str(forged))
    assert (done.code, done.out, sealed(cli)) == (10, "", False)
    assert done.err.startswith(f"tokenctl: none of this log's keys signed {forged}, which names it\n")


def test_a_head_that_a_former_key_signed_still_agrees(cli, head, tmp_path):
    former = cli("audit", "checkpoint", "--key").out.strip()
    for _ in range(2):
        assert cli("rotate-keys", "--log-key", "-q").code == 0
    for options in ((), ("--key", former), ("--quick",), ("--require-anchor",)):
        told = verify(cli, "--known-head", head, *options)
        assert (told["verdict"], told["anchors"][0]["agrees"]) == ("OK", True)
    path = tmp_path / "handover"
    path.write_text(str(cli("rotate-keys", "--log-key", "-o", "json").json["note"]))
    assert verify(cli, "--known-head", str(path), "--known-head", head)["rewritable"] == 0


# --quick: what a check goes on from


def test_a_first_quick_check_checks_all_and_the_next_what_came_since(cli):
    cli.token()
    assert verify(cli, "--quick")["since"] is None
    assert remembered(cli).stat().st_mode & 0o777 == 0o600
    for _ in range(3):
        cli.token()
    told = verify(cli, "--quick")
    assert (told["since"], told["records"], told["tokens"], told["verdict"]) == (2, 5, 3, LOCALLY)
    assert verify(cli, "--quick")["since"] == 5


@pytest.mark.parametrize("option", ["--full", "--state"])
def test_half_a_check_is_nothing_to_go_on_from(cli, option):
    cli.token()
    verify(cli, option)
    assert not remembered(cli).exists()


def test_a_finding_is_nothing_to_go_on_from(cli):
    cli.token()
    verify(cli)
    cli.token()
    before = remembered(cli).read_bytes()
    execute(cli, "UPDATE record SET time = time + 1 WHERE seq = 3")
    assert verify(cli, "--quick", code=10)["flaws"] == ["record 3: its columns differ from its body"]
    assert remembered(cli).read_bytes() == before


def test_what_was_verified_is_believed_whole_or_not_at_all(cli, tmp_path):
    """Whatever is not authentic is as if nothing was remembered; none of it makes a sound store look bad, or a check pass."""
    cli.token()
    cli.token()
    verify(cli)
    genuine = remembered(cli).read_bytes()
    other = InProcess(tmp_path / "other")
    other.token()
    other.token()
    verify(other)
    changed = [genuine[:at] + bytes([genuine[at] ^ 1]) + genuine[at + 1 :] for at in range(0, len(genuine), 3)]
    lines = genuine.split(b"\n")
    cases = [
        *changed, remembered(other).read_bytes(), b"", b"\0" * 100, genuine[:-1], genuine + b"\n", genuine * 2, b"\xff" * 50,
        *(b"\n".join([lines[0], size, *lines[2:]]) for size in (b"9" * 400, b"-3", b"2", b"4")),
    ]  # fmt: skip
    for data in cases:
        remembered(cli).write_bytes(data)
        told = verify(cli, "--quick")
        assert (told["since"], told["verdict"], told["tokens"]) == (None, LOCALLY, 2), data
        assert remembered(cli).read_bytes() == genuine
    execute(cli, "UPDATE token SET subject = 'eve'")
    for data in cases[::20]:
        remembered(cli).write_bytes(data)
        verify(cli, "--quick", code=10)


def test_a_remembered_file_that_others_could_write_or_that_points_elsewhere_is_refused(cli, tmp_path):
    cli.token()
    verify(cli)
    remembered(cli).chmod(0o666)
    done = cli("audit", "verify", "--quick")
    assert (done.code, done.out) == (9, "")
    genuine = remembered(cli).read_bytes()
    (tmp_path / "elsewhere").write_bytes(genuine)
    remembered(cli).unlink()
    remembered(cli).symlink_to(tmp_path / "elsewhere")
    done = cli("audit", "verify", "--quick")
    assert (done.code, done.out) == (9, "")
    assert not sealed(cli)
    assert cli("audit", "verify", "-q").code == 0
    assert (tmp_path / "elsewhere").read_bytes() == genuine


def test_where_nothing_can_be_remembered_the_check_is_as_sound(cli):
    cli.token()
    remembered(cli).mkdir()
    assert cli("audit", "verify").code == 0
    assert remembered(cli).is_dir()
    assert not sealed(cli)


def test_what_changed_before_the_last_check_is_left_to_a_whole_one(cli):
    cli.token()
    cli.token()
    verify(cli)
    cli.token()
    execute(cli, "UPDATE record SET time = time + 1 WHERE seq = 2")
    assert verify(cli, "--quick")["since"] == 3
    assert verify(cli, code=10)["verdict"] == "INVALID"


@pytest.mark.parametrize("options", [("--quick",), ("--full",), ()])
def test_a_log_shorter_than_what_was_verified_is_truncated(cli, tmp_path, options):
    """Store and anchor are of one old moment, and only what was verified remembers more."""
    cli.token()
    shutil.copytree(cli.home, tmp_path / "old")
    cli.token()
    verify(cli)
    old = InProcess(tmp_path / "old")
    shutil.rmtree(cli.store.parent)
    shutil.copytree(old.store.parent, cli.store.parent)
    shutil.copy2(old.anchor, cli.anchor)
    told = verify(cli, *options, code=10)
    assert (told["verdict"], told["flaws"]) == ("TRUNCATED", ["the log has 2 records, and 3 were verified before"])
    assert sealed(cli)
    assert cli("store", "release", "--reason", "r", "--yes").code == 0
    assert cli("issue", "--subject", "s", "-q").code == 0


@pytest.mark.parametrize("options", [("--quick",), ("--full",), ()])
def test_another_log_than_the_one_that_was_verified_has_diverged(cli, tmp_path, options):
    cli.token()
    shutil.copytree(cli.home, tmp_path / "fork")
    fork = InProcess(tmp_path / "fork")
    cli.token()
    verify(cli)
    fork.token()
    fork.token()
    shutil.rmtree(cli.store.parent)
    shutil.copytree(fork.store.parent, cli.store.parent)
    shutil.copy2(fork.anchor, cli.anchor)
    told = verify(cli, *options, code=10)
    assert (told["verdict"], told["flaws"]) == ("DIVERGED", ["record 3 is not the one that was verified before"])
    assert sealed(cli)


def after_restore(cli, folder):
    key = age_key(folder)
    backup = str(folder / "b.age")
    assert cli("store", "backup", backup, "--recipient", key.recipient, "-q").code == 0
    for _ in range(4):
        cli.token()
    verify(cli)
    assert cli("store", "restore", backup, "--identity", key.path, "--yes", "-q").code == 0


def after_a_restore_while_it_was_checked(cli, folder):
    """What the check found is of the store before, and it is written when that store is gone."""
    key, backup = age_key(folder), str(folder / "b.age")
    assert cli("store", "backup", backup, "--recipient", key.recipient, "-q").code == 0
    for _ in range(4):
        cli.token()
    with pytest.MonkeyPatch.context() as patched:
        write = verified.write

        def late(*found: object) -> None:
            assert cli("store", "restore", backup, "--identity", key.path, "--yes", "-q").code == 0
            write(*found)

        patched.setattr(verified, "write", late)
        verify(cli)


def after_a_restore_that_died(cli, folder):
    key, backup = age_key(folder), str(folder / "b.age")
    assert cli("store", "backup", backup, "--recipient", key.recipient, "-q").code == 0
    for _ in range(4):
        cli.token()
    verify(cli)
    with pytest.MonkeyPatch.context() as patched:
        replace = copies.replace_content

        def die(*exchanged: object) -> None:
            replace(*exchanged)
            raise TemporarilyUnavailable("killed")

        patched.setattr(copies, "replace_content", die)
        assert cli("store", "restore", backup, "--identity", key.path, "--yes", "-q").code == 7


def after_release(cli, folder):
    shutil.copytree(cli.store.parent, folder / "old")
    for _ in range(3):
        cli.token()
    verify(cli)
    shutil.rmtree(cli.store.parent)
    shutil.copytree(folder / "old", cli.store.parent)
    assert cli("audit", "verify", "-q").code == 10
    assert cli("store", "release", "--reason", "r", "--yes", "-q").code == 0


def after_root_rotation(cli, folder):
    assert cli("rotate-keys", "--root", "-q").code == 0


def after_clock_correction(cli, folder):
    cli.ahead = 100 * HOUR
    cli.token()
    verify(cli)
    cli.ahead = 0
    assert cli("store", "accept-clock", "--yes", "-q").code == 0


def after_a_lost_anchor(cli, folder):
    cli.anchor.unlink()
    cli.token()


def after_a_log_key_rotation(cli, folder):
    assert cli("audit", "checkpoint").code == 0
    assert cli("rotate-keys", "--log-key", "-q").code == 0


DEEDS = (
    after_restore, after_a_restore_while_it_was_checked, after_a_restore_that_died, after_release, after_root_rotation,
    after_clock_correction, after_a_lost_anchor, after_a_log_key_rotation,
)  # fmt: skip


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
def test_what_the_program_does_itself_makes_no_quick_check_say_no(cli, tmp_path, deed):
    cli.token()
    cli.token("--format", "jwt", "--audience", "a")
    verify(cli)
    deed(cli, tmp_path)
    for _ in range(2):
        told = verify(cli, "--quick")
        assert (told["verdict"], told["flaws"]) == (LOCALLY, [])
        cli.token()
    assert verify(cli, "--quick")["since"] == records(cli) - 1
    assert verify(cli)["verdict"] == LOCALLY


def test_the_state_beside_the_anchor_names_no_token_and_no_secret(cli):
    token = cli.token()
    verify(cli)
    text = remembered(cli).read_text()
    assert cli.id_of(token) not in text
    assert cli.root_secret.read_text().strip() not in text
    assert {path.name for path in cli.anchor.parent.iterdir()} == {"head", "verified"}
