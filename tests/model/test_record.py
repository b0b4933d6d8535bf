"""A record's body is canonical JSON, to the byte: the tree hashes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tokenctl.model.record import OPERATIONS, RECORD_VERSION, Event, body_of, canonical, issue_parameters, with_verifier

TEXT = st.none() | st.text(st.characters(), max_size=12)
TEXTS = st.none() | st.lists(st.text(max_size=6), max_size=3).map(tuple)
NUMBER = st.none() | st.integers(0, 2**53)
NAMES = ("target", "subject", "owner", "kind", "format", "parent", "kid", "reason", "ticket", "request_id", "policy")
FIELDS = dict.fromkeys(NAMES, TEXT) | {
    "operation": st.text(max_size=8), "outcome": st.text(max_size=8), "scope": TEXTS, "audience": TEXTS,
    "expires_at": NUMBER, "duration_ms": NUMBER,
}  # fmt: skip
ACTOR = st.dictionaries(st.text(max_size=6), TEXT | NUMBER, max_size=4)


@given(event=st.builds(Event, **FIELDS), actor=ACTOR, seq=st.integers(1, 2**53), time=st.integers(0, 2**53))
def test_the_body_is_the_canonical_json_of_every_member(event, actor, seq, time):
    members = {name: value for name, value in event._asdict().items() if name != "parameters"}
    members |= {"v": RECORD_VERSION, "seq": seq, "time": time, "actor": actor, "commitment": "00" * 32}
    written = body_of(event, seq=seq, time=time, actor=canonical(actor).decode(), commitment="00" * 32)
    assert written == canonical(members)


@given(labels=st.lists(st.tuples(TEXT.map(str), TEXT.map(str)), max_size=3), replaces=TEXT, verifier=st.binary(max_size=40))
def test_parameters_that_many_share_take_the_verifier_of_one_in_canonical_form(labels, replaces, verifier):
    told = (labels, None, 7, "n")
    shared = canonical(issue_parameters(*told, replaces=replaces, grace=1))
    assert with_verifier(shared, verifier) == canonical(issue_parameters(*told, replaces=replaces, grace=1, verifier=verifier))


def test_every_operation_that_is_recorded_can_be_asked_for() -> None:
    written = set()
    for path in (Path(__file__).parents[2] / "tokenctl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", None) if isinstance(node, ast.Call) else None
            if name not in ("Event", "event_about", "record_about", "_move"):
                continue
            said = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "operation")]
            texts = [value.value for value in said if isinstance(value, ast.Constant) and isinstance(value.value, str)]
            written |= {text for text in texts if re.fullmatch(r"[a-z]+\.[a-z_]+", text)}
    assert {"token.issue", "key.create", "store.create"} <= written
    assert written <= set(OPERATIONS)
