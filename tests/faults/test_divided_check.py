"""A check that several processes share reads a medium that cannot be written, and finds what one process finds."""

from __future__ import annotations

from tests.bench.log import authority, fill
from tests.faults.conftest import change
from tokenctl.audit import division, state
from tokenctl.audit.verify import verify

RECORDS = 200


def test_a_read_only_medium_is_checked_by_several_processes(cli, medium, monkeypatch):
    monkeypatch.setattr(division, "_WORTH_IT", 1)
    monkeypatch.setattr(division, "_LARGE_FILE", 0)
    monkeypatch.setattr(division, "spare_processors", lambda: 2)
    monkeypatch.setattr(state, "PIECE", 20)
    fill(cli.home, RECORDS)
    assert cli("list", "--limit", "1").code == 0  # closes it cleanly
    medium.read_only()
    try:
        sound = _verdict(cli)
        with authority(cli.home) as backend, backend.journal.reading() as view:
            assert view is not None
            assert view.store.read_only
            with division.FileCheck(view.store) as file:
                answers = [part.rest() for part in file._parts]
            bounds = state.boundaries(view.store)
            with division.StatePieces(view.store, view.rows, bounds) as pieces:
                found = [int(line.split()[0]) for part in pieces._parts for line in part.rest()]
    finally:
        medium.writable()
    assert sound == (True, [])
    assert answers == [["sound"], ["sound"]]
    assert sorted(found) == list(range(len(bounds) - 1))
    assert len(found) > 3
    change(cli.store, "UPDATE token SET subject = 'x' WHERE rowid = 50")
    medium.read_only()
    try:
        is_sound, flaws = _verdict(cli)
    finally:
        medium.writable()
    assert not is_sound
    assert len(flaws) == 2  # its MAC, and the record of its issue
    assert all("token " in flaw for flaw in flaws)


def _verdict(cli) -> tuple[bool, list[str]]:
    with authority(cli.home) as backend, backend.journal.reading() as view:
        assert view is not None
        report = verify(view.store, view.rows, view.head, head_intact=True, judged=None, anchored=True)
        return report.sound, report.flaws
