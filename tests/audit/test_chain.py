"""A long log is checked by several processes: none of them raises an alarm, and none that fails makes a check pass."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import apsw
import pytest

from tests.bench.log import authority, fill
from tokenctl.audit import chain, division
from tokenctl.audit.tree import CompactRange, leaf_hash
from tokenctl.audit.verdict import Report

RECORDS = 9 * chain.PIECE + 777


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    folder.chmod(0o700)
    fill(folder, RECORDS)
    return folder


def _checked(home: Path, **how: object) -> tuple[Report, chain.Chain]:
    report = Report()
    with authority(home) as backend, backend.journal.reading() as view:
        assert view is not None
        return report, chain.check_log(view.store, view.head, report, **how)




@pytest.mark.parametrize("processors", [0, 1, 3])
def test_however_many_processes_check_it_the_root_is_the_same(home, monkeypatch, processors):
    monkeypatch.setattr(division, "spare_processors", lambda: processors)
    monkeypatch.setattr(division, "_WORTH_IT", 2)
    sizes = [0, 1, chain.PIECE - 1, chain.PIECE, 3 * chain.PIECE + 5, RECORDS, RECORDS + 1]
    report, found = _checked(home, sizes=sizes)
    assert (report.verdict, report.flaws, report.records) == ("OK", [], RECORDS)
    assert sorted(found.roots) == sizes[:-1]
    tree, roots = CompactRange(), {0: CompactRange().root()}
    with authority(home) as backend, backend.journal.reading() as view:
        for (body,) in view.store.rows("SELECT body FROM record ORDER BY seq"):
            tree.append(leaf_hash(body))
            if tree.size in sizes:
                roots[tree.size] = tree.root()
    assert found.roots == roots


@pytest.mark.parametrize("where", [2, chain.PIECE, 5 * chain.PIECE + 1, 9 * chain.PIECE, RECORDS])
@pytest.mark.parametrize("column", ["body", "hash", "actor", "target", "time"])
def test_a_change_is_found_and_told_once_by_whichever_process_reads_it(home, monkeypatch, where, column):
    monkeypatch.setattr(division, "_WORTH_IT", 2)
    connection = apsw.Connection(str(home / ".local/share/tokenctl/local/store.db"))
    ((old,),) = connection.execute(f"SELECT {column} FROM record WHERE seq = ?", (where,)).fetchall()
    new = {"body": lambda: old[:-1] + b"!", "hash": lambda: bytes(32), "time": lambda: old - 1}.get(column, lambda: f"{old}\\")()
    connection.execute(f"UPDATE record SET {column} = ? WHERE seq = ?", (new, where))
    try:
        report, _ = _checked(home)
    finally:
        connection.execute(f"UPDATE record SET {column} = ? WHERE seq = ?", (old, where))
        connection.close()
    assert report.verdict == "INVALID"
    assert f"record {where}" in report.flaws[0]
    assert report.records == RECORDS


def test_a_process_that_dies_or_cannot_start_changes_no_verdict(home, monkeypatch):
    monkeypatch.setattr(division, "_WORTH_IT", 2)
    real = subprocess.Popen
    for program in ("/nonexistent", "/bin/false"):
        monkeypatch.setattr(division.subprocess, "Popen", lambda command, program=program, **how: real([program], **how))
        report, _ = _checked(home)
        assert (report.verdict, report.records) == ("OK", RECORDS)


def test_only_what_lies_behind_a_start_is_read(home):
    with authority(home) as backend, backend.journal.reading() as view:
        tree = CompactRange()
        for (leaf,) in view.store.rows("SELECT hash FROM record WHERE seq <= 70001 ORDER BY seq"):
            tree.append(leaf)
        start = chain.Start(70001, tree.to_bytes(), chain.time_of(view.store, 70001))
        report = Report()
        found = chain.check_log(view.store, view.head, report, sizes=[70000, 70001, RECORDS], start=start)
        assert (report.verdict, sorted(found.roots)) == ("OK", [70001, RECORDS])
        wrong = Report()
        chain.check_log(view.store, view.head, wrong, start=start._replace(range=bytes(len(start.range))))
        assert wrong.verdict == "INVALID"


def test_many_leaves_at_once_make_the_tree_that_single_ones_make():
    chance = random.Random(7)
    for _ in range(200):
        one, other = CompactRange(), CompactRange()
        for _ in range(4):
            leaves = [chance.randbytes(32) for _ in range(chance.randrange(40))]
            for leaf in leaves:
                one.append(leaf)
            other.extend(leaves)
            assert (one.size, one.to_bytes(), one.root()) == (other.size, other.to_bytes(), other.root())
