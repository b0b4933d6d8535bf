"""The vectors of others through the command line: no wrong accept, no wrong reject, never a bug of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors"
CHUNKS = 16


@dataclass(frozen=True)
class Case:
    name: str
    key: dict[str, Any]
    text: str
    accepted: bool


def wycheproof() -> list[Case]:
    document = json.loads((VECTORS / "wycheproof/json_web_signature_test.json").read_text())
    return [
        Case(
            name=f"wycheproof {case['tcId']} {case['comment']}",
            key=group.get("public") or group["private"],
            text=case["jws"] if isinstance(case["jws"], str) else json.dumps(case["jws"]) if case["jws"] else "",
            accepted=case["result"] == "valid",
        )
        for group in document["testGroups"]
        for case in group["tests"]
    ]


def cookbook() -> list[Case]:
    cases = []
    for path in [*sorted((VECTORS / "jose-cookbook/jws").iterdir()), VECTORS / "jose-cookbook/curve25519/jws.json"]:
        case = json.loads(path.read_text())
        key = case["input"]["key"]
        cases.append(Case(f"cookbook {path.name}", key, case["output"]["compact"], accepted=True))
        cases.extend(
            Case(f"cookbook {path.name} {form}", key, json.dumps(case["output"][form]), accepted=False)
            for form in ("json", "json_flat")
        )
    return cases


def rfcs() -> list[Case]:
    vectors = json.loads((VECTORS / "rfc/jose_rfc_vectors.json").read_text())
    unsecured = vectors["rfc7519_6_1_unsecured_MUST_REJECT"]["jwt"]
    cases = []
    for name, member in (("rfc8037_A", "jwk_private"), ("rfc7515_A1", "jwk"), ("rfc7515_A3", "jwk")):
        key = vectors[name][member]
        cases.append(Case(name, key, vectors[name]["jws_compact"], accepted=True))
        cases.append(Case(f"{name} unsecured", key, unsecured, accepted=False))
    return cases


CASES = [*wycheproof(), *cookbook(), *rfcs()]


def judged(cli: Any, case: Case) -> str | None:
    """Return what is wrong with the program's answer to a case, ``None`` where it is right."""
    keys = cli.home / "key.json"
    keys.write_text(json.dumps(case.key))
    done = cli("inspect", "-", "--jwks", "key.json", "-o", "json", input=case.text)
    if "Traceback" in done.err or done.code not in (0, 2, 3):
        return f"{case.name}: exit {done.code}: {done.err}"
    if done.code == 2:  # nothing was presented, or the key is one that must not be used
        accepted = False
        if done.out or json.loads(done.err)["exit_code"] != 2:
            return f"{case.name}: an exit 2 that is not told on stderr alone"
    else:
        accepted = done.json["signature"] == "valid"
        if done.err or (done.json["active"] is True) != (done.code == 0):
            return f"{case.name}: exit {done.code}, active {done.json['active']}, stderr {done.err!r}"
        if not accepted and done.code == 0:
            return f"{case.name}: accepted without a valid signature"
    return None if accepted == case.accepted else f"{case.name}: {'accepted' if accepted else 'rejected'}: {done.out}{done.err}"


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_vectors_are_judged_as_their_authors_say(cli: Any, chunk: int) -> None:
    wrong = [told for told in (judged(cli, case) for case in CASES[chunk::CHUNKS]) if told is not None]
    assert wrong == []
    assert sorted(path.name for path in cli.home.iterdir()) == ["key.json"]


def test_no_vector_is_missing() -> None:
    assert (len(wycheproof()), len(cookbook()), len(rfcs())) == (393, 15, 6)
    assert sum(case.accepted for case in CASES) == sum(case.accepted for case in wycheproof()) + 5 + 3
    assert sum(case.accepted for case in wycheproof()) > 10


def test_the_licences_lie_beside_the_vectors() -> None:
    assert "Apache License" in (VECTORS / "wycheproof/LICENSE").read_text()
    assert (VECTORS / "jose-cookbook/LICENSE").read_text().strip()
