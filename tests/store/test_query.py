"""Questions to the log lead to their records by an index, and come in order without being sorted."""

from __future__ import annotations

import itertools

import pytest

from tokenctl.audit import query
from tokenctl.model.selector import Selector
from tokenctl.store import choosing
from tokenctl.store.connection import Store

ALONE = {
    "target": ({"target": ("t5",)}, "record_by_target (target=?"),
    "targets": ({"target": ("t5", "t6")}, "record_by_target (target=?"),
    "request": ({"request_id": ("r1",)}, "record_by_request (request=?"),
    "ticket": ({"ticket": ("k1", "k2")}, "record_by_ticket (ticket=?"),
    "operation": ({"operation": ("token.revoke",)}, "record_by_operation (operation=?"),
    "operations": ({"operation": ("token.revoke", "token.issue", "store.clock")}, "record_by_operation (operation=?"),
    "actor": ({"actor": ("alice@x",)}, "record_by_actor (actor=?"),
    "time": ({"since": 50, "until": 70}, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    "number": ({"behind": 50}, "INTEGER PRIMARY KEY (rowid>?)"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("store") / "store.db")
    made = Store.create(path)
    with made.transaction(write=True):
        made.migrate()
        for seq in range(1, 2001):
            operation = "store.clock" if seq == 1000 else "token.revoke" if seq % 4 == 0 else "token.issue"
            made.run(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, x'7b7d', x'', x'', ?)",
                seq, seq if seq < 1000 else seq - 500, operation, f"t{seq % 300}", f"r{seq % 50}",
                "rare@x" if seq % 500 == 7 else "alice@x", f"k{seq % 40}" if seq % 4 == 0 else None,
            )  # fmt: skip
    opened = made.adopt(path)
    yield opened
    opened.close()


def plan(store, chosen, *, backwards=False):
    sql, values, _ = query.statement(store, chosen, backwards=backwards)
    return [str(row[3]) for row in store.rows(f"EXPLAIN QUERY PLAN {sql}", *values)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("asked", "index"), ALONE.values(), ids=ALONE)
def test_each_question_is_led_by_its_index_and_sorts_nothing(store, asked, index, backwards):
    steps = plan(store, query.Filter(**asked), backwards=backwards)
    reads = [step for step in steps if "record" in step and ("SEARCH" in step or "SCAN" in step)]
    assert reads
    assert all(index in step and step.startswith("SEARCH") for step in reads), steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps


def test_the_rarest_column_leads(store):
    for asked, index in (
        ({"actor": ("alice@x",), "operation": ("token.revoke",)}, "record_by_operation"),
        ({"actor": ("rare@x",), "operation": ("token.issue",)}, "record_by_actor"),
        ({"target": ("t5",), "operation": ("token.issue",), "actor": ("alice@x",)}, "record_by_target"),
        ({"request_id": ("r4",), "ticket": ("k4",), "since": 0}, "record_by_request"),
    ):
        steps = plan(store, query.Filter(**asked))
        assert any(index in step for step in steps), (asked, steps)
        assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN record")], steps


def test_many_targets_are_found_by_their_index(store):
    steps = plan(store, query.Filter(target=tuple(f"t{number}" for number in range(200))))
    assert any("record_by_target (target=?" in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN record")], steps


def test_every_question_gives_what_a_walk_through_all_does(store):
    everything = list(query.records(store, query.Filter()))
    assert [record.seq for record in everything] == list(range(1, 2001))
    wishes = {
        "target": ((), ("t5",), ("t8", "t9"), tuple(f"t{number}" for number in range(60))),
        "operation": ((), ("token.revoke",), ("token.issue", "store.clock")),
        "actor": ((), ("rare@x",)),
        "ticket": ((), ("k8",)),
        "since": (None, 600),
        "until": (None, 900),
        "behind": (None, 1100),
    }
    for values in itertools.product(*wishes.values()):
        chosen = query.Filter(**dict(zip(wishes, values, strict=True)))
        wanted = [record.seq for record in everything if fits(record, chosen)]
        assert [record.seq for record in query.records(store, chosen)] == wanted, chosen
        assert [record.seq for record in query.records(store, chosen, limit=3)] == wanted[-3:], chosen
        assert [record.seq for record in query.records(store, chosen, limit=3, first=True)] == wanted[:3], chosen


def fits(record, chosen):
    named = ((chosen.target, record.target), (chosen.operation, record.operation), (chosen.actor, record.actor))
    return (
        all(not wanted or value in wanted for wanted, value in (*named, (chosen.ticket, record.ticket)))
        and (chosen.since is None or record.time >= chosen.since)
        and (chosen.until is None or record.time < chosen.until)
        and (chosen.behind is None or record.seq > chosen.behind)
    )


def test_a_records_token_is_looked_up_by_its_id(store):
    selector = Selector(subject=("s*",), owner=("o",), scope=("a",), kid=("k",), batch=("r",))
    condition, values = choosing.condition("record.target", selector, now=0)
    sql, bound, _ = query.statement(store, query.Filter(), condition, values, backwards=True)
    steps = [str(row[3]) for row in store.rows(f"EXPLAIN QUERY PLAN {sql}", *bound)]
    assert any(step.startswith("SEARCH token ") and "(id=?)" in step for step in steps), steps
    assert not [step for step in steps if "TEMP B-TREE" in step], steps


def test_what_the_rows_ask_the_log_is_led_by_the_target(store):
    for sql in (
        "SELECT max(seq) FROM record WHERE target = 't5' AND +operation = 'token.revoke'",
        "SELECT max(time) FROM record WHERE +operation = 'store.backup' AND target = 't5'",
    ):
        steps = [str(row[3]) for row in store.rows(f"EXPLAIN QUERY PLAN {sql}")]
        assert any("record_by_target (target=?" in step for step in steps), steps
    counted = [str(row[3]) for row in store.rows("EXPLAIN QUERY PLAN SELECT count(*) FROM record WHERE operation = 'key.create'")]
    assert any("COVERING INDEX record_by_operation" in step for step in counted), counted
