"""Compute the root of a tokenctl log from its records, as tokenctl-log(5) describes them; standard library only.

usage: tokenctl audit log --raw | cat - [ARCHIVE ...] | python3 replay_log.py

Prints the number of records and the root in hexadecimal.
"""

import hashlib
import json
import sys


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def root_of(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def body_in(line: bytes) -> bytes | None:
    if line[:1].isdigit():  # in an archive the number stands in front
        line = line.partition(b" ")[2]
    return line if line.startswith(b"{") else None


bodies = {}
for line in sys.stdin.buffer.read().split(b"\n"):
    body = body_in(line)
    if body is None:
        continue
    record = json.loads(body)
    if json.dumps(record, sort_keys=True, separators=(",", ":")).encode() != body:
        sys.exit(f"record {record['seq']} is not in canonical form")
    bodies[record["seq"]] = body
if sorted(bodies) != list(range(1, len(bodies) + 1)):
    sys.exit("a record is missing")
sys.stdout.write(f"{len(bodies)} {root_of([leaf_hash(bodies[seq]) for seq in sorted(bodies)]).hex()}\n")
