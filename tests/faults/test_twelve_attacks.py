"""Twelve attacks on the log, each at many random places: what finds each of them, with which verdict, and what nothing can find.

The attacker writes the raw files. Some attackers have the root secret too, and derive every key from it as the program does.
A failure shows the seed; ``TOKENCTL_TEST_SEED`` plays it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.bench.log import authority
from tests.faults.conftest import in_memory
from tests.inprocess import InProcess
from tokenctl.audit import anchor as anchors
from tokenctl.audit import verified
from tokenctl.audit.tree import CompactRange, Head, leaf_hash
from tokenctl.backends.local import sealing
from tokenctl.formats import note, signing
from tokenctl.model.record import canonical
from tokenctl.model.token import Key
from tokenctl.secret import Secret
from tokenctl.store.protection import Protector

PLACES = 5  # of each attack
SEED = int(os.environ.get("TOKENCTL_TEST_SEED") or random.SystemRandom().randrange(10**9))
HOUR = 3_600_000
LOCALLY = "OK (anchored locally only)"


class Stage(NamedTuple):
    """A home with a history, its copies while it grew, and the checkpoints that were kept elsewhere."""

    home: Path
    copies: dict[int, Path]  # by size
    heads: dict[int, str]  # files, by size
    verifier_key: str
    token: str
    size: int


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Iterator[Stage]:
    with in_memory(tmp_path_factory.mktemp("stage")) as folder:
        yield _stage(folder)


def _stage(folder: Path) -> Stage:
    """A history of some fifty records, looked at and signed while it grew."""
    cli, rng = InProcess(folder / "home"), random.Random(SEED)
    copies: dict[int, Path] = {}
    heads: dict[int, str] = {}
    token = cli.token("--ttl", "12h", "--scope", "a")
    cli("issue", "--subject", "j", "--format", "jwt", "--audience", "a", "-q")
    while size(cli) < 50:
        text = cli.token("--scope", "b", "--max-uses", "9", "--ttl", "1h")
        one = cli.id_of(text)
        for command in rng.sample(
            [
                ("revoke", one, "--ticket", "T-1", "--yes", "-q"), ("revoke", one, "--suspend", "--yes", "-q"),
                ("issue", "--subject", "many", "--count", "3", "-q"), ("issue", "--subject", "x", "--ttl", "900d"),
                ("issue", "--replace", one, "--grace", "5m", "-q"),
            ], 2,
        ):  # fmt: skip
            cli(*command)
        checked(cli("audit", "verify", "-q"), 0)
        taken = checked(cli("audit", "checkpoint", "-o", "json"), 0).json
        heads[int(taken["size"])] = str(folder / f"{taken['size']}.checkpoint")
        Path(heads[int(taken["size"])]).write_text(str(taken["note"]))
        copies[size(cli)] = folder / f"copy-{size(cli)}"
        shutil.copytree(cli.home, copies[size(cli)])
    cli.token()  # what came since the last head and the last check
    key = checked(cli("audit", "checkpoint", "--key", "-o", "json"), 0).json["verifier_key"]
    return Stage(cli.home, copies, heads, str(key), token, size(cli))


class Attack:
    """A copy of the home, in the hands of an attacker."""

    def __init__(self, stage: Stage, home: Path, rng: random.Random) -> None:
        shutil.copytree(stage.home, home)
        self.stage, self.rng = stage, rng
        self.cli = InProcess(home)

    # What the attacker does

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.cli.store, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = OFF")
        try:
            yield connection
        finally:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()

    def run(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with self.database() as connection:
            return connection.execute(sql, values).fetchall()

    @property
    def store_id(self) -> str:
        return str(self.run("SELECT value FROM meta WHERE name = 'store_id'")[0][0])

    @property
    def keys(self) -> sealing.Keys:
        """The keys of an attacker who has the root secret."""
        return sealing.derive(Secret(bytes.fromhex(self.cli.root_secret.read_text().strip())), 1)

    def put(self, copy: Path, *places: str) -> None:
        """Put an old copy in place of the store, or of other files below the home."""
        for place in places or (".local/share",):
            shutil.rmtree(self.cli.home / place)
            shutil.copytree(copy / place, self.cli.home / place)

    def rehash(self, behind: int = 0, *, key: bytes | None) -> None:
        """Make leaves, tree and head anew from the bodies; without the key the MAC of the head stays what it was."""
        with self.database() as connection:
            tree, newest, moment = CompactRange(), b"", 0
            for seq, body in connection.execute("SELECT seq, body FROM record ORDER BY seq").fetchall():
                newest, moment = leaf_hash(body), json.loads(body)["time"]
                tree.append(newest)
                if seq > behind:
                    connection.execute("UPDATE record SET hash = ?, time = ? WHERE seq = ?", (newest, moment, seq))
            head = Head(tree.size, tree.to_bytes(), tree.root(), moment)
            mac = head.mac(key, self.store_id) if key else connection.execute("SELECT mac FROM head").fetchone()[0]
            sql = "UPDATE head SET size = ?, range = ?, root = ?, time = ?, mac = ?"
            connection.execute(sql, (head.size, head.range, head.root, moment, mac))
        if key:
            anchors.write(str(self.cli.anchor), anchors.Anchor(self.store_id, tree.size, newest, tree.root()))
            found = verified.Verified(tree.size, tree.to_bytes(), newest, moment)
            verified.write(str(self.cli.anchor), found, key, self.store_id)

    def rewrite(self, seq: int, **members: object) -> None:
        """Change members of a body; it stays canonical."""
        ((body,),) = self.run("SELECT body FROM record WHERE seq = ?", seq)
        self.run("UPDATE record SET body = ? WHERE seq = ?", canonical(json.loads(body) | members), seq)

    # What finds it

    def verify(self, *options: str, code: int, verdict: str | None = None) -> dict[str, object]:
        done = self.cli("audit", "verify", *options, "-o", "json")
        assert (done.code, done.err) == (code, ""), (options, done)
        if verdict is not None:
            assert done.json["verdict"] == verdict, (options, done)
        return done.json

    def apart(self, *options: str, code: int, verdict: str | None = None) -> dict[str, object]:
        """Verify a copy, so that the quarantine does not last."""
        spare = self.cli.home.with_name("spare")
        shutil.copytree(self.cli.home, spare)
        mine, self.cli = self.cli, InProcess(spare)
        try:
            return self.verify(*options, code=code, verdict=verdict)
        finally:
            self.cli = mine
            shutil.rmtree(spare)

    def quarantine(self) -> object:
        return self.run("SELECT quarantine FROM head")[0][0]

    def assert_sealed(self) -> None:
        """Nothing is active and nothing is issued until it is released with a record; then both work."""
        assert self.quarantine() is not None
        for command in (("issue", "--subject", "s", "-q"), ("rotate-keys", "--root"), ("audit", "checkpoint")):
            refused = self.cli(*command)
            assert (refused.code, refused.out) == (10, ""), (command, refused)
        assert self.cli("inspect", "-", "-q", input=self.stage.token).code == 10
        told = self.cli("audit", "log", "-o", "json")
        assert told.code == 0 or "cannot be read" in told.err, told
        assert self.cli("revoke", "--subject", "j", "--yes", "-q").code == 0
        checked(self.cli("store", "release", "--reason", "it was looked into", "--yes", "-q"), 0)
        assert self.quarantine() is None
        assert self.cli("issue", "--subject", "s", "-q").code == 0

    def known(self, *sizes: int) -> list[str]:
        return [part for number in sizes for part in ("--known-head", self.stage.heads[number])]

    def heads(self, low: int, high: int = 10**9) -> list[int]:
        """Sizes of the kept heads that know a record, and not one behind another."""
        return [number for number in self.stage.heads if low <= number < high]


def checked(done, code):
    assert done.code == code, done
    return done


def size(cli: InProcess) -> int:
    connection = sqlite3.connect(cli.store)
    try:
        return int(connection.execute("SELECT size FROM head").fetchone()[0])
    finally:
        connection.close()


@pytest.fixture
def attacks(stage, tmp_path, request) -> Iterator[Iterator[Attack]]:
    """The same attack at many places, each on a home of its own."""
    sys.stdout.write(f"TOKENCTL_TEST_SEED={SEED}\n")
    with in_memory(tmp_path) as folder:

        def each() -> Iterator[Attack]:
            for place in range(PLACES):
                home = folder / str(place) / "home"
                home.parent.mkdir()
                yield Attack(stage, home, random.Random(f"{SEED}-{request.node.name}-{place}"))
                shutil.rmtree(home.parent)

        yield each()


# 1 to 5: the hand that edits


@pytest.mark.parametrize("column", ["body", "hash", "nonce", "time", "operation", "target", "actor", "request", "ticket"])
def test_an_edited_byte_is_found(attacks, column):
    for attack in attacks:
        seq = attack.rng.randrange(1, attack.stage.size + 1)
        (old,) = attack.run(f"SELECT {column} FROM record WHERE seq = ?", seq)[0]
        if isinstance(old, bytes):
            position = attack.rng.randrange(len(old))
            new: object = old[:position] + bytes([old[position] ^ 1 << attack.rng.randrange(8)]) + old[position + 1 :]
        else:
            new = old + attack.rng.choice([-1, 1]) if isinstance(old, int) else f"{old or ''}x"
        attack.run(f"UPDATE record SET {column} = ? WHERE seq = ?", new, seq)
        rows = column == "nonce"  # which belongs to the rows: it opens what a record commits to
        found = attack.apart(code=10, verdict="INVALID")
        assert any(str(seq) in str(flaw) for flaw in found["flaws"]), found
        attack.apart("--full", code=0 if rows else 10, verdict=LOCALLY if rows else "INVALID")
        # What was verified before is not looked at again: that is what --quick means.
        before = verified.read(str(attack.cli.anchor), attack.keys.head, attack.store_id)
        assert before is not None
        found_quickly = seq > before.size or (column == "hash" and seq == before.size)
        ((operation,),) = attack.run("SELECT operation FROM record WHERE seq = ?", seq)
        if found_quickly or not str(operation).startswith(("log.", "store.")):  # what the store says of itself is always compared
            attack.apart("--quick", code=10 if found_quickly else 0)
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()
        attack.verify(code=10, verdict="INVALID")


def test_a_deleted_row_is_found(attacks):
    for attack in attacks:
        seq = attack.rng.randrange(1, attack.stage.size)
        attack.run("DELETE FROM record WHERE seq = ?", seq)
        found = attack.apart("--full", code=10, verdict="INVALID")
        assert f"record {seq} is missing" in found["flaws"]
        found = attack.verify(*attack.known(*attack.heads(seq)[:1]), code=10, verdict="INVALID")
        assert f"record {seq} is missing" in found["flaws"]
        attack.assert_sealed()


def test_swapped_rows_are_found(attacks):
    for attack in attacks:
        one, other = attack.rng.sample(range(1, attack.stage.size + 1), 2)
        whole = attack.rng.random() < 0.5  # leaves and all, or the bodies alone
        columns = ["time", "operation", "target", "request", "actor", "body", "hash", "nonce", "ticket"] if whole else ["body"]
        names = ", ".join(columns)
        (first,) = attack.run(f"SELECT {names} FROM record WHERE seq = ?", one)
        (second,) = attack.run(f"SELECT {names} FROM record WHERE seq = ?", other)
        setting = ", ".join(f"{name} = ?" for name in columns)
        attack.run(f"UPDATE record SET {setting} WHERE seq = ?", *second, one)
        attack.run(f"UPDATE record SET {setting} WHERE seq = ?", *first, other)
        attack.apart("--full", code=10, verdict="INVALID")
        found = attack.verify(code=10, verdict="INVALID")
        assert any(f"record {one}" in flaw or f"record {other}" in flaw for flaw in found["flaws"]), found
        attack.assert_sealed()


@pytest.mark.parametrize("where", ["between", "at the end"])
def test_an_inserted_forged_row_is_found(attacks, where):
    for attack in attacks:
        last = attack.stage.size
        seq = attack.rng.randrange(2, last + 1) if where == "between" else last + 1
        attack.run("UPDATE record SET seq = -seq - 1 WHERE seq >= ?", seq)
        attack.run("UPDATE record SET seq = -seq WHERE seq < 0")
        (model,) = attack.run("SELECT time, target, actor, body, nonce FROM record WHERE seq = ?", seq - 1)
        moment, target, actor, body, nonce = model
        members = json.loads(str(body, "ascii")) | {"seq": seq, "operation": "token.lift", "reason": None}
        forged = canonical(members | {"request_id": None, "ticket": None})
        values = (seq, moment, "token.lift", target, None, actor, forged, leaf_hash(forged), nonce, None)
        attack.run("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
        attack.apart("--full", code=10, verdict="INVALID")
        attack.apart("--quick", code=10)  # DIVERGED where the newest record that was verified has another number now
        assert attack.cli("inspect", "-", "-q", input=attack.stage.token).code == 10  # no command believes it
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()


def test_a_forged_row_in_front_of_the_first_is_found(attacks):
    """No number of the log is taken by it, and it is about nothing that has a row."""
    for attack in attacks:
        seq = -attack.rng.choice([0, attack.rng.randrange(1, 1 << 62)])
        ((moment, actor, body, nonce),) = attack.run("SELECT time, actor, body, nonce FROM record WHERE seq = 1")
        members = json.loads(str(body, "ascii")) | {"seq": seq, "operation": "token.deny", "target": None, "request_id": None}
        forged = canonical(members)
        values = (seq, moment, "token.deny", None, None, actor, forged, leaf_hash(forged), nonce, None)
        attack.run("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
        flaw = f"record {seq} stands in front of the first one"
        for options in (("--full",), ("--state",), ("--quick",), attack.known(*attack.heads(1)[-1:])):
            assert flaw in attack.apart(*options, code=10, verdict="INVALID")["flaws"], options
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()


@pytest.mark.parametrize("how", ["leaf", "leaf and head"])
def test_a_record_that_was_rehashed_without_the_key_is_found(attacks, how):
    for attack in attacks:
        seq = attack.rng.randrange(1, attack.stage.size + 1)
        attack.rewrite(seq, policy=hashlib.sha256(b"another").hexdigest())
        if how == "leaf":
            ((body,),) = attack.run("SELECT body FROM record WHERE seq = ?", seq)
            attack.run("UPDATE record SET hash = ? WHERE seq = ?", leaf_hash(body), seq)
            flaw = "the records do not have the root that the head says"
        else:
            attack.rehash(key=None)
            flaw = "the head of the log is not authentic"
            assert attack.cli("inspect", "-", "-q", input=attack.stage.token).code == 10
        assert flaw in attack.apart("--full", code=10, verdict="INVALID")["flaws"]
        found = attack.verify(*attack.known(*attack.heads(seq)[:2]), code=10, verdict="INVALID")
        assert flaw in found["flaws"]
        assert all(not one["agrees"] for one in found["anchors"])
        attack.assert_sealed()


def test_a_revocation_that_an_index_was_made_to_leave_out_is_found_by_the_next_check_however_quick(attacks):
    """A row from before it fits the newest record that questions find."""
    for attack in attacks:
        one = attack.cli.id_of(attack.cli.token("--scope", "b"))
        attack.verify(code=0)
        names = ", ".join(str(row[1]) for row in attack.run("PRAGMA table_info(token)"))
        (row,) = attack.run(f"SELECT {names} FROM token WHERE id = ?", one)
        checked(attack.cli("revoke", one, "--yes", "-q"), 0)
        attack.cli.token()
        ((record,),) = attack.run("SELECT max(seq) FROM record WHERE target = ?", one)
        attack.run("UPDATE record SET target = NULL WHERE seq = ?", record)
        attack.run(f"UPDATE token SET ({names}) = ({', '.join('?' * len(row))}) WHERE id = ?", *row, one)
        with without_index(attack, "record_by_target") as connection:
            connection.execute("UPDATE record SET target = ? WHERE seq = ?", (one, record))
        found = attack.apart("--quick", code=10, verdict="INVALID")
        assert found["flaws"] == [f"record {record} is not in the index of targets"]
        attack.apart("--state", code=10, verdict="INVALID")
        attack.verify(code=10, verdict="INVALID")


@contextmanager
def without_index(attack: Attack, name: str) -> Iterator[sqlite3.Connection]:
    """Change the table of records while one of its indexes stays as it was."""
    (entry,) = attack.run("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE name = ?", name)
    with attack.database() as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = ?", (name,))
        connection.execute("PRAGMA writable_schema = RESET")
    with attack.database() as connection:
        yield connection
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", entry)
        connection.execute("PRAGMA writable_schema = RESET")


# 6 to 9: the hand that takes away


def cut(attack: Attack) -> int:
    """Cut the tail with a head that was authentic once, from an old copy; return the size that is left."""
    left = attack.rng.choice(list(attack.stage.copies))
    old = sqlite3.connect(attack.stage.copies[left] / ".local/share/tokenctl/local/store.db")
    head = old.execute("SELECT size, range, root, time, quarantine, mac FROM head").fetchone()
    old.close()
    attack.run("DELETE FROM record WHERE seq > ?", left)
    attack.run("UPDATE head SET size = ?, range = ?, root = ?, time = ?, quarantine = ?, mac = ?", *head)
    return left


def test_a_cut_tail_is_found(attacks):
    for attack in attacks:
        left = attack.rng.randrange(1, attack.stage.size)
        attack.run("DELETE FROM record WHERE seq > ?", left)
        assert attack.cli("inspect", "-", "-q", input=attack.stage.token).code == 10
        attack.apart("--full", code=10, verdict="INVALID")
        attack.verify(*attack.known(*attack.heads(left + 1)[:1]), code=10, verdict="INVALID")
        attack.assert_sealed()


def test_a_tail_cut_together_with_the_head_is_found_by_the_anchor(attacks):
    for attack in attacks:
        left = cut(attack)
        lost = attack.stage.size - left
        assert attack.cli("inspect", "-", "-q", input=attack.stage.token).code == 10
        found = attack.apart("--full", code=10, verdict="TRUNCATED")
        assert found["flaws"] == [f"TRUNCATED: the store is {lost} record{'s' * (lost != 1)} behind its anchor"]
        before = verified.read(str(attack.cli.anchor), attack.keys.head, attack.store_id)
        assert before is not None
        if left < before.size:
            attack.apart("--quick", code=10, verdict="TRUNCATED")
        attack.verify(code=10, verdict="INVALID")  # rows are left whose records are gone
        attack.assert_sealed()


@pytest.mark.parametrize("anchor", ["of that time", "gone"])
def test_a_tail_cut_together_with_all_heads_is_found_by_a_head_kept_elsewhere_alone(attacks, anchor):
    for attack in attacks:
        left = attack.rng.choice(list(attack.stage.copies)[:-1])
        attack.put(attack.stage.copies[left], ".local/share", ".local/state")
        if anchor == "gone":
            shutil.rmtree(attack.cli.anchor.parent)
        # Nothing on this machine remembers the records that are gone: no check here can find it, and each says how far it sees.
        here = attack.apart(code=0, verdict=LOCALLY if anchor == "of that time" else "UNANCHORED")
        exported = here["exported"] or 0
        assert here["rewritable"] == left - exported
        attack.apart("--require-anchor", code=10, verdict="UNANCHORED")
        # A head of no more than what is left agrees, and says that what came behind it could be written anew.
        for old in attack.heads(1, left + 1)[-2:]:
            agrees = attack.apart(*attack.known(old), "--require-anchor", code=0, verdict="OK")
            assert agrees["rewritable"] == left - old
        newer = attack.rng.choice(attack.heads(left + 1))
        for options in ((), ("--full",), ("--quick",), ("--state",)):
            found = attack.apart(*options, *attack.known(newer), code=10, verdict="TRUNCATED")
            assert found["anchors"][0]["agrees"] is False
        attack.verify(*attack.known(newer), code=10, verdict="TRUNCATED")
        attack.assert_sealed()


def test_an_old_copy_is_found_by_the_anchor_and_by_every_command(attacks):
    for attack in attacks:
        left = attack.rng.choice(list(attack.stage.copies))
        attack.put(attack.stage.copies[left])
        for options in ((), ("--full",), ("--state",), ("--quick",), attack.known(*attack.heads(1, left + 1)[-1:])):
            attack.apart(*options, code=10, verdict="TRUNCATED")
        newer = attack.heads(left + 1)
        if newer:
            attack.apart(*attack.known(newer[-1]), code=10, verdict="TRUNCATED")
        assert attack.cli("inspect", "-", "-q", input=attack.stage.token).code == 10
        attack.verify("--quick", code=10, verdict="TRUNCATED")
        attack.assert_sealed()
        # Released, it is what it says: and a head of what is lost still tells.
        attack.apart(code=0, verdict=LOCALLY)
        if newer:
            attack.apart(*attack.known(newer[-1]), code=10)


# 8: the hand that has the key


def test_a_log_rewritten_with_the_key_is_found_by_a_head_kept_elsewhere_alone(attacks):
    for attack in attacks:
        seq = attack.rng.randrange(1, attack.stage.size + 1)
        attack.rewrite(seq, duration_ms=attack.rng.randrange(1, 10**6), policy=hashlib.sha256(b"lax").hexdigest())
        attack.rehash(seq - 1, key=attack.keys.head)
        for options in ((), ("--full",), ("--quick",)):
            here = attack.apart(*options, code=0, verdict=LOCALLY)
        exported = max(attack.stage.heads)
        assert here["rewritable"] == attack.stage.size - exported
        before, knowing = attack.heads(1, seq), attack.heads(seq)
        if before:
            agrees = attack.apart(*attack.known(before[-1]), "--require-anchor", code=0, verdict="OK")
            assert agrees["rewritable"] == attack.stage.size - before[-1] >= attack.stage.size - seq + 1
        if not knowing:
            continue  # it came behind every head that left: nobody can tell, and ``rewritable`` said so
        chosen = attack.rng.choice(knowing)
        for options in (("--full",), ("--state",), ("--quick",), ("--require-anchor",)):
            attack.apart(*options, *attack.known(chosen), code=10, verdict="DIVERGED")
        found = attack.verify(*attack.known(*before[-1:], chosen), code=10, verdict="DIVERGED")
        assert [one["agrees"] for one in found["anchors"]] == [True] * len(before[-1:]) + [False]
        attack.assert_sealed()


def test_hashes_left_beside_a_log_rewritten_with_the_key_convince_no_partial_check(attacks):
    """Head, anchor and what was verified are of the new log; only the hashes that a known head is of stay beside its records."""
    for attack in attacks:
        seq = attack.rng.randrange(1, max(attack.stage.heads) + 1)
        chosen = attack.rng.choice(attack.heads(seq))
        hashes = attack.run("SELECT hash, seq FROM record WHERE seq <= ?", chosen)
        attack.rewrite(seq, duration_ms=attack.rng.randrange(1, 10**6))
        attack.rehash(seq - 1, key=attack.keys.head)
        for leaf, number in hashes:
            attack.run("UPDATE record SET hash = ? WHERE seq = ?", leaf, number)
        for options in (("--quick",), ("--state",)):
            found = attack.apart(*options, *attack.known(chosen), code=10, verdict="INVALID")
            assert found["flaws"][0].endswith("records do not have the root that is known of them"), found
            assert found["anchors"][0]["agrees"] is False
        attack.verify(*attack.known(chosen), code=10, verdict="INVALID")
        attack.assert_sealed()


# 10: the hand on the clock


def append(attack: Attack, moment: int, operation: str) -> None:
    """Append a record of any time, with the key, as the program would write it."""
    keys, store_id, last = attack.keys, attack.store_id, attack.stage.size
    ((actor, body, _),) = attack.run("SELECT actor, body, nonce FROM record WHERE seq = ?", last)
    nonce = os.urandom(32)
    empty = dict.fromkeys(json.loads(body)) | {"actor": json.loads(body)["actor"], "outcome": "done", "v": 1}
    commitment = hashlib.sha256(nonce).hexdigest()
    told = {"seq": last + 1, "time": moment, "operation": operation, "target": store_id, "commitment": commitment}
    new = canonical(empty | told)
    tag = Protector(keys.row, store_id).nonce_tag(last + 1, nonce)
    values = (last + 1, moment, operation, store_id, None, actor, new, leaf_hash(new), nonce + tag, None)
    attack.run("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values)
    spared = verified.path_beside(str(attack.cli.anchor))
    kept = Path(spared).read_bytes()
    attack.rehash(last, key=keys.head)
    Path(spared).write_bytes(kept)  # what was verified stays that


def test_a_clock_rolled_back_appends_nothing_older_than_what_is_there(attacks):
    """The program itself: late records carry the time of the one before, and nothing is issued."""
    for attack in attacks:
        now = int(str(attack.run("SELECT time FROM head")[0][0])) - attack.rng.randrange(301_000, 1000 * HOUR)
        assert attack.cli("issue", "--subject", "s", now=now).code == 7
        assert attack.cli("revoke", "--subject", "someone", "--yes", "-q", now=now).code == 0
        times = [row[0] for row in attack.run("SELECT time FROM record ORDER BY seq")]
        assert times == sorted(times)
        attack.verify(code=0, verdict=LOCALLY)
        attack.verify("--quick", code=0, verdict=LOCALLY)


def test_a_record_appended_with_the_key_behind_the_time_of_the_log_is_found(attacks):
    for attack in attacks:
        moment = int(str(attack.run("SELECT time FROM head")[0][0])) - attack.rng.randrange(1, 1000 * HOUR)
        if attack.rng.random() < 0.8:  # then the forged record is the first that --quick looks at
            attack.verify(code=0, verdict=LOCALLY)
        append(attack, moment, "store.backup")
        flaw = f"record {attack.stage.size + 1} is older than the one before"
        for options in ((), ("--full",), ("--quick",), attack.known(*attack.heads(1)[:1])):
            assert attack.apart(*options, code=10, verdict="INVALID")["flaws"] == [flaw]
        attack.verify("--quick", code=10, verdict="INVALID")
        attack.assert_sealed()


def test_a_clock_accepted_with_the_key_but_without_ending_what_had_ended_is_found(attacks):
    for attack in attacks:
        back = attack.rng.randrange(1, 100 * HOUR)
        append(attack, int(str(attack.run("SELECT time FROM head")[0][0])) - back, "store.clock")
        for options in ((), ("--state",), ("--quick",)):
            found = attack.apart(*options, code=10, verdict="INVALID")
            assert any("accepted the clock, and is not revoked" in flaw for flaw in found["flaws"]), (back, found)
        # The log alone tells of an accepted clock, and that is no flaw of it: it is there to be read.
        attack.apart("--full", code=0, verdict=LOCALLY)
        told = attack.cli("audit", "log", "--operation", "store.clock", "-o", "jsonl").lines
        assert [record["seq"] for record in told] == [attack.stage.size + 1]
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()


# 11: two histories


@pytest.mark.parametrize("anchor", ["kept", "exchanged"])
def test_a_fork_is_found(attacks, anchor):
    """Two processes go on with copies of one store; one copy takes the place of the other."""
    for attack in attacks:
        start = attack.stage.size
        twin = InProcess(attack.cli.home.with_name("twin"))
        shutil.copytree(attack.cli.home, twin.home, dirs_exist_ok=True)
        mine, theirs = attack.rng.randrange(1, 6), attack.rng.randrange(1, 6)
        for cli, count in ((attack.cli, mine), (twin, theirs)):
            for _ in range(count):
                cli.token("--ttl", "1h")
        kept = attack.cli.home.with_name("kept.checkpoint")
        assert attack.cli("audit", "checkpoint", "--out", str(kept), "-q").code == 0
        if attack.rng.random() < 0.5:
            assert attack.cli("audit", "verify", "-q").code == 0
        known, verdict = ("--known-head", str(kept)), "TRUNCATED" if theirs < mine else "DIVERGED"
        attack.put(twin.home, *((".local/share",) if anchor == "kept" else (".local/share", ".local/state")))
        if anchor == "kept":
            for options in ((), ("--full",), ("--state",), ("--quick",), known):
                attack.apart(*options, code=10, verdict=verdict)
            assert attack.cli("inspect", "-", "-q", input=attack.stage.token).code == 10
        else:
            # With its own anchor beside it each of the two is a whole log: only who kept a head of the other can tell.
            here = attack.apart(code=0, verdict=LOCALLY)
            assert here["rewritable"] == start + theirs - max(attack.stage.heads)
            before = attack.apart(*attack.known(max(attack.stage.heads)), code=0, verdict="OK")
            assert before["rewritable"] == start + theirs - max(attack.stage.heads) >= theirs
        for options in ((), ("--quick",), ("--state",)):
            attack.apart(*options, *known, code=10, verdict=verdict)
        attack.verify(*known, code=10, verdict=verdict)
        attack.assert_sealed()


# 12: the key of the log


def exchange_key(attack: Attack, key: sealing.Keys | None, *, record: bool = False) -> str:
    """Put another key in place of the log's, under the same origin; return the new verifier key."""
    with attack.database() as connection:
        meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        mine, seed = note.fresh(str(meta["log_keys"]).partition("+")[0])
        meta["log_keys"] = str(mine)
        if key is not None:
            meta["log_sealed"] = sealing.seal(key, str(meta["store_id"]), str(mine), "Ed25519", seed.reveal())
            meta["mac"] = Protector(key.row, str(meta["store_id"])).meta_mac(meta)
        for name, value in meta.items():
            connection.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))
    if record and key is not None:
        ((seq,),) = attack.run("SELECT seq FROM record WHERE operation = 'log.rotate_key'")
        attack.rewrite(int(str(seq)), reason=str(mine))
        attack.rehash(key=key.head)
    return str(mine)


def test_a_public_key_of_the_log_exchanged_without_the_root_secret_stops_every_command(attacks):
    for attack in attacks:
        exchange_key(attack, None)
        known = attack.known(attack.rng.choice(list(attack.stage.heads)))
        for command in (
            ("audit", "verify"), ("audit", "verify", "--quick"), ("audit", "verify", *known), ("audit", "checkpoint"),
            ("audit", "checkpoint", "--key"), ("issue", "--subject", "s"), ("list",),
        ):  # fmt: skip
            done = attack.cli(*command)
            assert (done.code, done.out) == (10, ""), (command, done)
            assert "about itself were changed" in done.err


def test_a_former_key_of_the_log_put_back_from_an_old_copy_is_found(attacks):
    """Without the root secret: what the store said of itself once is authentic for ever, but its records went on."""
    for attack in attacks:
        meta = attack.run("SELECT name, value FROM meta")
        for _ in range(attack.rng.randrange(1, 3)):
            checked(attack.cli("rotate-keys", "--log-key", "-q"), 0)
        if attack.rng.random() < 0.5:
            attack.verify(code=0, verdict=LOCALLY)
        attack.run("DELETE FROM meta")
        for row in meta:
            attack.run("INSERT INTO meta VALUES (?, ?)", *row)
        known = attack.known(attack.rng.choice(list(attack.stage.heads)))
        for options in ((), ("--state",), ("--quick",), known, ("--quick", *known)):
            found = attack.apart(*options, code=10, verdict="INVALID")
            assert found["flaws"] == ["the log key is not the one last recorded"]
        attack.verify("--quick", code=10, verdict="INVALID")
        attack.assert_sealed()


def test_a_public_key_of_the_log_exchanged_with_the_root_secret_is_found(attacks):
    for attack in attacks:
        exchange_key(attack, attack.keys)
        for options in ((), ("--state",), ("--quick",)):
            found = attack.apart(*options, code=10, verdict="INVALID")
            assert found["flaws"] == ["the log key is not the one last recorded"]
        kept = attack.rng.choice(list(attack.stage.heads))
        attack.apart(*attack.known(kept), "--key", attack.stage.verifier_key, code=10, verdict="INVALID")
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()


def test_a_key_exchanged_in_a_rewritten_log_is_found_by_a_head_and_the_key_kept_with_it(attacks):
    for attack in attacks:
        mine = exchange_key(attack, attack.keys, record=True)
        attack.apart(code=0, verdict=LOCALLY)  # nobody here knows another key
        kept = attack.rng.choice(list(attack.stage.heads))
        # A head that a stranger signed in the log's name says nothing against the store: it is not sealed for that.
        unsigned = attack.cli("audit", "verify", *attack.known(kept))
        assert (unsigned.code, unsigned.out, attack.quarantine()) == (10, "", None)
        assert "none of this log's keys signed" in unsigned.err
        forged = attack.cli("audit", "checkpoint", "-o", "json").json
        assert forged["verifier_key"] == mine != attack.stage.verifier_key
        path = attack.cli.home / "forged.checkpoint"
        path.write_text(str(forged["note"]))
        attack.apart("--known-head", str(path), code=0, verdict="OK")
        for options in ((), ("--quick",), ("--require-anchor",)):
            found = attack.apart(
                *options, *attack.known(kept), "--key", attack.stage.verifier_key, code=10, verdict="DIVERGED"
            )  # fmt: skip
            assert [one["agrees"] for one in found["anchors"]] == [False]
        attack.verify(*attack.known(kept), "--key", attack.stage.verifier_key, code=10, verdict="DIVERGED")
        attack.assert_sealed()


def test_no_attack_is_found_where_there_was_none(attacks):
    """The same questions to the store as it was: each of the tests above would pass for a program that always says no."""
    asked: list[Callable[[Attack], list[str]]] = [
        lambda _: [], lambda _: ["--full"], lambda _: ["--state"], lambda _: ["--quick"],
        lambda attack: attack.known(*attack.stage.heads), lambda attack: ["--quick", *attack.known(*attack.stage.heads)],
        lambda attack: ["--key", attack.stage.verifier_key, *attack.known(min(attack.stage.heads))],
    ]  # fmt: skip
    attack = next(attacks)
    for options in asked:
        told = attack.verify(*options(attack), code=0)
        assert (told["verdict"] in ("OK", LOCALLY), told["flaws"]) == (True, [])
    assert attack.cli("issue", "--subject", "s", "-q").code == 0


def test_a_signing_key_exchanged_with_the_root_secret_is_found_by_what_its_record_commits_to(attacks):
    """Head, log and anchors are as they were: tokens under the other key would be called valid, and no record tells of it."""
    for attack in attacks:
        keys, store_id = attack.keys, attack.store_id
        (columns,) = attack.run(f"SELECT {', '.join(Key._fields)} FROM key")
        mine = Key(*columns)  # as they stand in the table
        other = signing.generate(mine.alg)
        sealed = sealing.seal(keys, store_id, mine.kid, mine.alg, other.private_bytes())
        mine = mine._replace(public=json.dumps(other.public_jwk(mine.kid), sort_keys=True), sealed=sealed)
        mac = Protector(keys.row, store_id).key_mac(mine)
        attack.run("UPDATE key SET public = ?, sealed = ?, mac = ?", mine.public, sealed, mac)
        for options in ((), ("--state",), attack.known(max(attack.stage.heads))):
            found = attack.apart(*options, code=10, verdict="INVALID")
            assert found["flaws"] == [f"key {mine.kid}: its public key is not the one that was made"]
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()


def test_a_token_given_another_secret_with_the_root_secret_is_found_by_what_its_record_commits_to(attacks):
    """Head, log and anchors are as they were, and the secret that its owner has is dead."""
    for attack in attacks:
        keys, store_id, theirs = attack.keys, attack.store_id, attack.cli.token("--scope", "b")
        identifier, mine = attack.cli.id_of(theirs), Secret(f"{theirs}x".encode())
        with authority(attack.cli.home) as backend, backend.journal.changing() as change:
            stored = change.rows.token(identifier)
            change.rows.update_token(stored.row._replace(verifier=sealing.verifier(keys.pepper, store_id, mine)), "verifier")
        assert attack.cli("inspect", "-", "-q", input=theirs).code == 3
        flaw = f"token {identifier}: its secret, labels, limits or note differ from the record of its issue"
        for options in ((), ("--state",), attack.known(max(attack.stage.heads))):
            found = attack.apart(*options, code=10, verdict="INVALID")
            assert found["flaws"] == [flaw]
        attack.verify(code=10, verdict="INVALID")
        attack.assert_sealed()
