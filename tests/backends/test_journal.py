"""The journal beside writers: a reader sees one moment of store and anchor."""

from __future__ import annotations

import time

from tokenctl import config, wiring
from tokenctl.audit import anchor as anchors


def test_a_commit_while_a_reader_opens_its_view_does_not_make_the_anchor_seem_ahead(cli, monkeypatch):
    cli.token()
    surroundings = wiring.Surroundings(
        environment=cli.env, now=time.time_ns() // 1_000_000, notice=print, warn=print, timeout=30
    )
    journal = wiring.open_journal(config.Profile(name="local"), surroundings)
    read = anchors.read

    def read_while_another_commits(path):
        cli.token()
        return read(path)

    with journal.reading():
        pass  # opened; from here on a view is all that is read
    monkeypatch.setattr(anchors, "read", read_while_another_commits)
    with journal.reading() as view:
        assert view.quarantine is None
    journal.close()
