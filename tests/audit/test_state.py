"""The rows of many tokens are checked by several processes: every change is found, and none of them raises an alarm."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tests.bench import log
from tests.bench.log import authority
from tokenctl.audit import division, plain_history, query, state
from tokenctl.audit.token_history import token_flaws
from tokenctl.audit.verdict import Report
from tokenctl.audit.verify import Extent, verify
from tokenctl.model.record import NONCE_LENGTH, Record, canonical, commitment_to, issue_parameters
from tokenctl.model.token import Token

RECORDS = 1_600
TOKEN = ("mac", *(name for name in Token._fields if name not in ("scope", "audience", "labels")))
TOKENS = 849


_WITHOUT_ID = f"""INSERT INTO token ({", ".join(TOKEN)}) SELECT {", ".join("''" if name == "id" else name for name in TOKEN)}
FROM token WHERE id = {{id}}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    folder.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "_AT_ONCE", 250)
        log.fill(folder, RECORDS)
    return folder


@pytest.fixture
def divided(monkeypatch):
    monkeypatch.setattr(division, "_WORTH_IT", 1)
    monkeypatch.setattr(division, "_LARGE_FILE", 0)
    monkeypatch.setattr(division, "spare_processors", lambda: 2)
    monkeypatch.setattr(state, "PIECE", 100)
    monkeypatch.setattr(state, "_AT_ONCE", 64)


def _path(home: Path) -> Path:
    return home / ".local/share/tokenctl/local/store.db"


def _verified(home: Path, *, with_state: bool = True) -> Report:
    with authority(home) as backend, backend.journal.reading() as view:
        assert view is not None
        extent = Extent(state=with_state)
        return verify(view.store, view.rows, view.head, head_intact=True, judged=None, anchored=True, extent=extent)


def _checked(home: Path, *, alone: bool = False) -> Report:
    report = Report()
    with authority(home) as backend, backend.journal.reading() as view:
        assert view is not None
        state.check_state(view.store, view.rows, [], report, alone=alone)
    return report


@pytest.mark.usefixtures("divided")
def test_however_many_processes_check_them_all_tokens_are_counted(home, monkeypatch):
    assert _checked(home, alone=True).tokens == TOKENS
    for processors in (0, 1, 3):
        monkeypatch.setattr(division, "spare_processors", lambda processors=processors: processors)
        report = _checked(home)
        assert (report.verdict, report.flaws, report.tokens) == ("OK", [], TOKENS)


@pytest.mark.usefixtures("divided")
def test_what_other_processes_found_sound_is_not_read_again(home, monkeypatch):
    real, deadline = division.StatePieces.sound, time.monotonic() + 60

    def patient(self, number):
        while (found := real(self, number)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return found

    monkeypatch.setattr(division.StatePieces, "sound", patient)
    monkeypatch.setattr(state, "check_piece", lambda *_: pytest.fail("it was read again"))
    assert _checked(home).tokens == TOKENS


@pytest.mark.parametrize(
    ("statement", "flaw"),
    [
        ("UPDATE token SET subject = 'x' WHERE id = {id}", "token {id}: its row or its tags were changed"),
        ("UPDATE tag SET value = 'x' WHERE token = {id}", "token {id}: its row or its tags were changed"),
        ("UPDATE tag SET expires_at = 1 WHERE token = {id}", "token {id}: its row or its tags were changed"),
        ("DELETE FROM tag WHERE token = {id}", "token {id}: its row or its tags were changed"),
        ("INSERT INTO tag VALUES ('scope', 'x', 1, {id} || 'x')", "a tag belongs to no token: {id}x"),
        ("DELETE FROM token WHERE id = {id}", "the row of {id} is missing"),
        ("DELETE FROM record WHERE target = {id} AND operation = 'token.revoke'",
         "token {id}: its newest record is not the one that its row says"),
        ("UPDATE record SET nonce = zeroblob(48) WHERE target = {id} AND operation = 'token.issue'", "its nonce was changed"),
        ("UPDATE record SET target = NULL, nonce = zeroblob(48) WHERE target = {id}", "its nonce was changed"),
        (_WITHOUT_ID, "token : its row or its tags were changed"),
        ("INSERT INTO request VALUES ('a', 'planted', x'00', 1)", "no record speaks of the request planted"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("divided")
def test_a_change_under_any_token_is_found_whoever_reads_it(home, tmp_path, statement, flaw):
    for place in (0, -1, 333):
        copy = _copied(home, tmp_path / str(place))
        with _database(copy) as connection:
            ids = connection.execute("SELECT id FROM token WHERE revoked_at IS NOT NULL ORDER BY id").fetchall()
            identifier = ids[place][0]
            connection.execute(statement.replace("{id}", f"'{identifier}'"))
        report = _checked(copy)
        assert report.verdict == "INVALID"
        assert any(flaw.replace("{id}", identifier) in told for told in report.flaws), report.flaws


def _copied(home: Path, place: Path) -> Path:
    return Path(shutil.copytree(home, place))


@contextmanager
def _database(home: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(_path(home)))
    try:
        yield connection
    finally:
        connection.close()


def _histories(home: Path) -> list[tuple[Token, list[Record]]]:
    """A token that was revoked, and one that was not, each with its records."""
    with authority(home) as backend, backend.journal.reading() as view:
        assert view is not None
        found = []
        for condition in ("NOT NULL", "NULL"):
            identifier = str(view.store.value(f"SELECT id FROM token WHERE revoked_at IS {condition}"))
            stored = view.rows.token(identifier)
            assert stored is not None
            found.append((stored.row, list(query.records(view.store, query.Filter(target=(identifier,))))))
        return found


def _plain(token: Token, history: list[Record]) -> bool:
    told = [(str(each.target), each.seq, each.time, each.operation, each.body, each.nonce) for each in history]
    sound = plain_history.plainly_sound(token, told)
    assert not sound or list(token_flaws(token, history, intact=True)) == []
    return sound


def test_a_row_that_says_anything_else_than_its_records_is_never_plain(home):
    for token, history in _histories(home):
        assert _plain(token, history)
        for name in Token._fields:
            for other in _others(name, getattr(token, name)):
                changed = token._replace(**{name: other})
                assert not (list(token_flaws(changed, history, intact=True)) and _plain(changed, history)), (name, other)


_OTHERS = [("max_uses", 9), ("labels", (("a", "b"),)), ("not_before", 1), ("note", "x"), ("verifier", b"x")]


@pytest.mark.parametrize(("name", "other"), _OTHERS)
def test_what_the_record_of_an_issue_only_commits_to_is_held_against_the_row_too(home, name, other):
    for token, history in _histories(home):
        changed = token._replace(**{name: other})
        flaws = list(token_flaws(changed, history, intact=True))
        assert "its secret, labels, limits or note differ from the record of its issue" in flaws
        assert not _plain(changed, history)


def test_a_record_of_an_issue_that_commits_to_no_verifier_is_as_sound_as_it_was(home):
    """Those of 0.1.0 do not."""
    for token, (issued, *rest) in _histories(home):
        told = issue_parameters(token.labels, token.max_uses, token.not_before, token.note)
        facts = issued.facts() | {"commitment": commitment_to(told, issued.nonce[:NONCE_LENGTH])}
        history = [issued._replace(body=canonical(facts)), *rest]
        assert _plain(token, history)
        assert not _plain(token._replace(note="x"), history)


def _others(name: str, value: object) -> list[object]:
    """Other values of a member, of the kind that its column holds."""
    kind = str(Token.__annotations__[name])
    if "tuple[tuple" in kind:
        return [(("a", "b"),)]
    if "tuple" in kind:
        return [("x",), ("x", "y"), ()]
    number, text, binary = ([0, 1, 7], ["", "x", "{"], [b"x"])
    others = number if "int" in kind else binary if "bytes" in kind else text
    return [other for other in [*others, *([None] if "None" in kind else [])] if other != value]


def test_a_history_that_is_changed_in_any_place_is_never_plain_where_the_replay_finds_a_flaw(home):
    chance = random.Random(5)
    for token, history in _histories(home):
        for place, record in enumerate(history):
            for _ in range(400):
                at = chance.randrange(len(record.body))
                body = record.body[:at] + bytes([chance.choice(b'"\\,:{}[]x0')]) + record.body[at + chance.randrange(3) :]
                _plain(token, [*history[:place], record._replace(body=body), *history[place + 1 :]])
            for operation in ("token.use", "token.lift", "token.suspend", "token.replace", "token.issue", "token.revoke"):
                other = [*history[:place], record._replace(operation=operation), *history[place + 1 :]]
                assert _plain(token, other) == (operation == record.operation)
            assert not _plain(token, [*history, record]) or record.operation == "token.revoke"
        assert not _plain(token, history[1:] or [history[0]._replace(seq=0)])


@pytest.mark.usefixtures("divided")
def test_a_writer_at_work_during_a_divided_check_raises_no_alarm(home, tmp_path):
    copy, stop, fails = _copied(home, tmp_path / "busy"), threading.Event(), []
    program = str(Path(sys.executable).with_name("tokenctl"))
    env = {"HOME": str(copy), "PATH": os.environ["PATH"]}

    def write() -> None:
        while not stop.is_set():
            done = subprocess.run([program, "issue", "--subject", "busy", "-q"], env=env, capture_output=True, check=False)
            fails.extend([done.stderr] if done.returncode else [])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        sizes = set()
        for _ in range(6):
            report = _verified(copy)
            assert (report.sound, report.flaws) == (True, [])
            sizes.add(report.records)
    finally:
        stop.set()
        writer.join()
    assert fails == []
    assert len(sizes) > 1  # it did write meanwhile


@pytest.mark.usefixtures("divided")
def test_what_was_seen_behind_another_head_is_not_taken_over(home, tmp_path):
    copy = _copied(home, tmp_path / "moved")
    with authority(copy) as backend, backend.journal.reading() as view:
        assert view is not None
        view.store.integer("SELECT count(*) FROM record")  # fixes what this one sees
        log.fill(copy, RECORDS + 1)
        bounds = state.boundaries(view.store)
        with division.StatePieces(view.store, view.rows, bounds) as pieces:
            for part in pieces._parts:
                assert part.rest() == []


@pytest.mark.usefixtures("divided")
@pytest.mark.parametrize("processors", [0, 1, 2])
def test_a_damaged_index_is_found_by_whichever_process_looks(home, tmp_path, monkeypatch, processors):
    monkeypatch.setattr(division, "spare_processors", lambda: processors)
    copy = _copied(home, tmp_path / "index")
    with _database(copy) as connection:
        (page,) = connection.execute("SELECT max(pageno) FROM dbstat WHERE name = 'token_by_owner'").fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with _path(copy).open("r+b") as file:
        file.seek(page * size - 400)
        file.write(b"\x01" * 390)  # of ten bytes some lie in what was moved to another page
    report = _verified(copy)
    assert report.verdict == "INVALID"
    assert report.flaws[0].startswith("the store's file is damaged: ")


@pytest.mark.parametrize("with_state", [False, True])
def test_a_damaged_page_of_records_is_told_as_a_flaw(home, tmp_path, with_state):
    copy = _copied(home, tmp_path / "page")
    with _database(copy) as connection:
        sql = "SELECT pageno FROM dbstat WHERE name = 'record' AND pagetype = 'leaf' ORDER BY path"
        page = [row[0] for row in connection.execute(sql)][100]
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with _path(copy).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    report = _verified(copy, with_state=with_state)
    assert report.verdict == "INVALID"
    flaw = next(flaw for flaw in report.flaws if flaw.startswith("record "))
    assert flaw.endswith("cannot be read: the store's file is damaged")
    assert report.flaws[0].startswith("the store's file is damaged: ") == with_state
    done = subprocess.run(
        [str(Path(sys.executable).with_name("tokenctl")), "audit", "verify"], env={"HOME": str(copy), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split(":")[0]) == (10, "INVALID")
    assert "Traceback" not in done.stderr


def test_a_process_ends_with_the_one_that_started_it(home):
    code = (
        "import os, sys, time\n"
        "from tokenctl.audit.division import Part\n"
        "part = Part(task='file', path=sys.argv[1], checks=['integrity_check'] * 100_000)\n"
        "print(part._process.pid, flush=True)\n"
        "time.sleep(60)"
    )
    for number in (signal.SIGKILL, signal.SIGINT):
        asker = subprocess.Popen(
            [sys.executable, "-P", "-c", code, str(_path(home))], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert asker.stdout is not None
        part = int(asker.stdout.readline())
        asker.send_signal(number)
        asker.communicate(timeout=10)
        deadline = time.monotonic() + 10
        while _runs(part):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_key_of_the_rows_stands_in_no_argument_and_no_environment(home, monkeypatch):
    seen = []
    real = subprocess.Popen
    monkeypatch.setattr(division.subprocess, "Popen", lambda command, **how: seen.append((command, how)) or real(command, **how))
    monkeypatch.setattr(division, "_WORTH_IT", 1)
    monkeypatch.setattr(division, "spare_processors", lambda: 1)
    with authority(home) as backend, backend.journal.reading() as view:
        assert view is not None
        key = view.rows.protector.key
        with division.StatePieces(view.store, view.rows, [None, None]):
            pass
    ((command, how),) = seen
    assert (command[1:], how["env"]) == (["-P", "-m", "tokenctl.audit.part"], {})
    assert key.hex() not in repr(command)
