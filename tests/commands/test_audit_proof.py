"""``audit show ID --proof`` and ``audit verify --proof``: one record for someone who has files and a key, and no store."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.faults.conftest import change, database
from tests.formats.test_note import ORIGIN, independent, made
from tokenctl.commands.audit.check_proof import Trusted, examine
from tokenctl.errors import InvalidRequest
from tokenctl.formats import note, proof
from tokenctl.formats.note import Checkpoint, VerifierKey
from tokenctl.formats.proof import Proof


def vkey(cli: Cli) -> str:
    return cli("audit", "checkpoint", "--key").out.rstrip("\n")


def replayed(text: str, key: str) -> dict[str, object]:
    """Check a proof by the words of the specifications alone; return its extra members."""
    head, _, signed = text.partition("\n\n")
    magic, extra, index, *path = head.split("\n")
    assert magic == "c2sp.org/tlog-proof@v1"
    _, size, root = independent(signed.encode(), key).splitlines()
    members = json.loads(base64.b64decode(extra.removeprefix("extra ")))
    node = hashlib.sha256(b"\0" + members["body"].encode()).digest()
    first, last = int(index.removeprefix("index ")), int(size) - 1  # RFC 9162 section 2.1.3.2
    assert first <= last
    for line in path:
        sibling = base64.b64decode(line)
        assert last
        if first % 2 or first == last:
            node = hashlib.sha256(b"\1" + sibling + node).digest()
            while first and not first % 2:
                first, last = first // 2, last // 2
        else:
            node = hashlib.sha256(b"\1" + node + sibling).digest()
        first, last = first // 2, last // 2
    assert last == 0
    assert base64.b64encode(node).decode() == root
    return members


def records(cli: Cli, identifier: str) -> list[dict[str, object]]:
    return cli("audit", "show", identifier, "-o", "jsonl").lines


def check(cli: Cli, text: str | bytes, *arguments: str):
    path = cli.home / "p.tlog-proof"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return cli("audit", "verify", "--proof", str(path), *arguments)


@pytest.fixture
def token(cli) -> str:
    """A token among others, with labels and a note, revoked."""
    identifier = cli.id_of(cli.token("--label", "team=x", "--note", "for the nightly build"))
    for _ in range(3):
        cli.token()
    why = ("--reason", "leaked", "--note", "seen in a log", "--ticket", "INC-1")
    assert cli("revoke", identifier, *why, "--yes", "-q").code == 0
    return identifier


# Making


def test_a_proof_of_the_newest_record_verifies_by_the_specification_alone(cli, token):
    done = cli("audit", "show", token, "--proof")
    assert (done.code, done.err) == (0, "")
    members = replayed(done.out, vkey(cli))
    assert members.keys() == {"body"}
    facts = json.loads(members["body"])
    assert (facts["operation"], facts["target"], facts["ticket"]) == ("token.revoke", token, "INC-1")
    assert "seen in a log" not in done.out + members["body"]
    assert cli("audit", "verify", "-q").code == 0


def test_every_record_about_an_id_can_be_proved_and_disclosed(cli, token):
    issued, revoked = records(cli, token)
    with sqlite3.connect(cli.store) as store:
        ((verifier,),) = store.execute("SELECT verifier FROM token WHERE id = ?", (token,)).fetchall()
    bound: dict[str, object] = {"labels": {"team": "x"}, "max_uses": None, "not_before": None, "note": "for the nightly build"}
    for record, parameters in (
        (issued, bound | {"verifier": verifier.hex()}),
        (revoked, {"note": "seen in a log"}),
    ):
        done = cli("audit", "show", token, "--proof", "--seq", str(record["seq"]), "--disclose", "-q")
        assert (done.code, done.err) == (0, "")
        members = replayed(done.out, vkey(cli))
        facts = json.loads(members["body"])
        assert (facts["seq"], members["parameters"]) == (record["seq"], parameters)
        told = json.dumps(parameters, sort_keys=True, separators=(",", ":")).encode()
        assert hmac.new(bytes.fromhex(members["nonce"]), told, "sha256").hexdigest() == facts["commitment"]


def test_the_proof_lies_in_a_file_of_its_own(cli, token):
    done = cli("audit", "show", token, "--proof", "--out", "p.tlog-proof")
    assert (done.code, done.out, done.err) == (0, "", "")
    path = cli.home / "p.tlog-proof"
    assert path.stat().st_mode & 0o777 == 0o600
    assert replayed(path.read_text(), vkey(cli))
    told = cli("audit", "show", token, "--proof", "--disclose", "-o", "json").json
    facts = cli("store", "info", "-o", "json").json
    assert replayed(told["proof"], told["verifier_key"])["parameters"] == {"note": "seen in a log"}
    assert told == {
        "action": "proof", "profile": "local", "seq": 6, "target": token, "origin": vkey(cli).partition("+")[0],
        "size": facts["records"], "root": facts["root"], "disclosed": True, "proof": told["proof"], "verifier_key": vkey(cli),
        "out": None, "warnings": [],
    }  # fmt: skip


def test_keys_and_the_store_have_records_that_can_be_proved(cli):
    cli.token("--format", "jwt", "--audience", "a")
    for operation in ("key.activate", "store.create", "log.rotate_key"):
        assert vkey(cli)
        (record,) = cli("audit", "log", "--operation", operation, "-o", "jsonl").lines
        done = cli("audit", "show", str(record["target"]), "--proof", "--seq", str(record["seq"]))
        assert json.loads(replayed(done.out, vkey(cli))["body"])["operation"] == operation


@pytest.mark.parametrize(
    ("deed", "operation", "parameters"),
    [
        (("--suspend", "--for", "1h", "--then", "lift", "--note", "n"), "token.suspend", {"then": "lift", "note": "n"}),
        (("--suspend", "--keep-children"), "token.suspend", {"keep_children": True, "until": None}),
        (("--note", "n", "--keep-children"), "token.revoke", {"note": "n", "keep_children": True}),
    ],
)
def test_what_the_row_still_tells_is_disclosed(cli, deed, operation, parameters):
    identifier = cli.id_of(cli.token())
    assert cli("revoke", identifier, *deed, "--yes", "-q").code == 0
    done = cli("audit", "show", identifier, "--proof", "--disclose")
    assert done.code == 0, done.err
    members = replayed(done.out, vkey(cli))
    assert json.loads(members["body"])["operation"] == operation
    assert members["parameters"].items() >= parameters.items()
    assert check(cli, done.out, "-q").code == 0


def test_a_child_that_died_with_its_parent_and_what_was_replaced_are_disclosed(cli):
    parent = cli.id_of(cli.token("--ttl", "1h"))
    child = cli.id_of(cli.token("--parent", parent, "--ttl", "5m"))
    old = cli.id_of(cli.token())
    new = cli.id_of(cli("issue", "--replace", old, "--grace", "1h", "-q").out.strip())
    assert cli("revoke", parent, "--yes", "-q").code == 0
    for identifier, expected in ((child, {"note": None, "with": parent}), (old, {"replaced_by": new})):
        told = replayed(cli("audit", "show", identifier, "--proof", "--disclose").out, vkey(cli))["parameters"]
        assert told.items() >= expected.items()
    told = replayed(cli("audit", "show", new, "--proof", "--disclose").out, vkey(cli))["parameters"]
    assert (told["replaces"], told["grace"]) == (old, 3_600_000)


def test_what_is_not_known_any_more_is_said_so(cli):
    identifier = cli.id_of(cli.token())
    assert cli("revoke", identifier, "--suspend", "--note", "first", "--yes", "-q").code == 0
    assert cli("revoke", identifier, "--note", "second", "--yes", "-q").code == 0
    seq = records(cli, identifier)[1]["seq"]
    done = cli("audit", "show", identifier, "--proof", "--seq", str(seq), "--disclose")
    assert (done.code, done.out) == (5, "")
    assert done.err.splitlines()[0] == (
        f"tokenctl: the parameters of record {seq} are not known here any more: only what a row still tells is disclosed"
    )
    assert cli("audit", "show", identifier, "--proof", "--seq", str(seq), "-q").code == 0


def test_a_question_without_an_answer_makes_no_key(cli):
    identifier = cli.id_of(cli.token())
    for arguments in (("0" * 22,), (identifier, "--seq", "1")):
        assert cli("audit", "show", arguments[0], "--proof", *arguments[1:]).code == 5
    assert [record["operation"] for record in cli("audit", "log", "-o", "jsonl").lines] == ["store.create", "token.issue"]


def test_a_record_of_another_id_and_none_at_all_are_not_found(cli, token):
    for arguments in ((token, "--seq", "1"), (token, "--seq", "999"), (token, "--seq", "-1"), ("0" * 22,)):
        done = cli("audit", "show", arguments[0], "--proof", *arguments[1:])
        assert done.code in (2, 5)
        assert done.out == ""
    for arguments in ((token, "--disclose"), (token, "--seq", "2"), (token, "--out", "f"), ("-", "--proof"), ("x", "--proof")):
        assert cli("audit", "show", *arguments).code == 2, arguments
    assert cli("audit", "verify", "--key", "k").code == 2
    assert not (cli.home / "f").exists()


def test_no_proof_is_made_of_a_log_that_does_not_check_out(cli, token):
    assert vkey(cli)
    forged = "CAST(replace(CAST(body AS TEXT), 'INC-1', 'INC-2') AS BLOB)"
    change(cli.store, f"UPDATE record SET body = {forged} WHERE ticket = 'INC-1'")
    done = cli("audit", "show", token, "--proof")
    assert (done.code, done.out) == (10, "")
    assert done.err.startswith("tokenctl: record 6 is not in the log as its head has it\n")


def test_a_changed_row_or_nonce_discloses_nothing(cli, token):
    assert vkey(cli)
    with database(cli.store) as connection:
        ((nonce,),) = connection.execute("SELECT nonce FROM record WHERE seq = 6").fetchall()
        connection.execute("UPDATE record SET nonce = ? WHERE seq = 6", (bytes([nonce[0] ^ 1]) + nonce[1:],))
    assert cli("audit", "show", token, "--proof", "--disclose").code == 10
    assert cli("audit", "show", token, "--proof", "-q").code == 0
    change(cli.store, f"UPDATE token SET note = 'x' WHERE id = '{token}'")
    assert cli("audit", "show", token, "--proof", "--seq", "2", "--disclose").code == 10


# Checking


def test_an_auditor_needs_the_file_and_the_key_alone(cli, token, tmp_path):
    text, key = cli("audit", "show", token, "--proof", "--disclose").out, vkey(cli)
    elsewhere = Cli(tmp_path / "auditor")
    elsewhere.home.mkdir(mode=0o700)
    done = check(elsewhere, text, "--key", key)
    assert (done.code, done.err) == (0, "")
    verdict, by, checkpoint, record, parameters = done.out.splitlines()
    assert verdict == "OK: the record is in the log that the checkpoint speaks of"
    assert by == f"key: {key}, the key given with --key"
    assert checkpoint.startswith("checkpoint: 7 records, root ")
    assert record.split("\t")[:1] + record.split("\t")[2:4] == ["6", "token.revoke", token]
    assert parameters == 'parameters: {"note":"seen in a log"}'
    assert [path.name for path in elsewhere.home.iterdir()] == ["p.tlog-proof"]
    none = check(elsewhere, text)
    assert (none.code, none.out) == (2, "")
    assert none.err.startswith("tokenctl: no key to check the proof with: this profile has no store with a log key\nhint: ")
    quiet = check(elsewhere, text, "--key", key, "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


def test_it_is_said_by_whose_key_it_was_verified(cli, token):
    text = cli("audit", "show", token, "--proof").out
    assert check(cli, text).out.splitlines()[1] == f"key: {vkey(cli)}, the key of this profile's store"
    former = vkey(cli)
    assert cli("rotate-keys", "--log-key", "-q").code == 0
    told = check(cli, text, "-o", "json").json
    assert (told["verdict"], told["verifier_key"], told["key_source"]) == ("OK", former, "former")
    record = records(cli, token)[-1]
    assert (told["flaws"], told["record"], told["parameters"], told["warnings"]) == ([], record, None, [])


def test_the_key_of_another_log_or_of_another_key_of_its_name_does_not_verify_it(cli, token):
    text = cli("audit", "show", token, "--proof").out
    origin = vkey(cli).partition("+")[0]
    for name, flaw in (
        (ORIGIN, f"the checkpoint is of another log than the key: {origin}"),
        (origin, "the checkpoint is not signed by the key given with --key"),
    ):
        done = check(cli, text, "--key", str(made(name)[0]))
        assert (done.code, done.err) == (10, "")
        assert done.out == f"INVALID: the proof does not hold\nflaw: {flaw}\n"


def test_the_key_of_a_handed_over_head_cannot_be_anybodys(cli):
    """Whoever has a head can put a signature of his own under it; only the record tells which key follows."""
    cli.token()
    former = vkey(cli)
    handed = cli("audit", "checkpoint").out
    assert cli("rotate-keys", "--log-key", "-q").code == 0
    genuine = cli("audit", "checkpoint", "--handover").out
    other, seed = made(former.partition("+")[0])
    forged = handed + note.sign(handed.partition("\n\n")[0] + "\n", [(other, seed)]).partition("\n\n")[2]
    assert note.open_checkpoint(forged.encode(), [VerifierKey.parse(former)]) is not None  # the note alone looks right
    swapped = proof.parse(genuine.encode())
    body = swapped.body.replace(vkey(cli).encode(), str(other).encode())
    assert body != swapped.body
    assert check(cli, swapped._replace(body=body).to_bytes(), "--key", former, "-q").code == 10
    assert check(cli, genuine, "--key", former, "-q").code == 0


@pytest.mark.parametrize("text", ["", "x", "c2sp.org/tlog-proof@v1\n", "\0" * 100, "\n\n", "c2sp.org/tlog-proof@v1\nindex 0\n\n"])
def test_what_is_no_proof_is_malformed(cli, text):
    done = check(cli, text, "--key", str(made()[0]))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("tokenctl: this is no proof of a record")


def test_a_file_without_end_or_not_there_is_refused(cli):
    key = str(made()[0])
    for path in ("/dev/zero", "absent", "."):
        done = cli("audit", "verify", "--proof", path, "--key", key)
        assert (done.code, done.out) == (2, "")
    huge = check(cli, b"c2sp.org/tlog-proof@v1\n" + b"A" * 3_000_000, "--key", key)
    assert (huge.code, huge.out) == (2, "")
    for wrong in ("k", "a+b+c", str(made()[0])[:-1]):
        assert check(cli, "x", "--key", wrong).code == 2


@pytest.fixture(scope="module")
def proved(tmp_path_factory) -> tuple[bytes, str]:
    """A proof that discloses, and the key."""
    home = tmp_path_factory.mktemp("proved")
    home.chmod(0o700)
    cli = Cli(Path(home))
    identifier = cli.id_of(cli.token("--label", "a=b"))
    for _ in range(2):
        cli.token()
    return cli("audit", "show", identifier, "--proof", "--disclose").out.encode(), vkey(cli)


def holds(data: bytes, key: str) -> bool:
    try:
        return not examine(proof.parse(data), [Trusted(VerifierKey.parse(key), "given")]).flaws
    except InvalidRequest:
        return False


def test_no_byte_of_a_proof_can_be_changed_cut_or_doubled(proved):
    data, key = proved
    assert holds(data, key)
    for place in range(len(data)):
        for flip in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= flip
            assert not holds(bytes(changed), key), (place, flip)
        assert not holds(data[:place], key)
    lines = data.splitlines(keepends=True)
    for number, line in enumerate(lines):
        last = number == len(lines) - 1
        # A signature that stands twice says nothing new; every other line would.
        assert holds(b"".join([*lines[:number], line, *lines[number:]]), key) == last, line
        assert not holds(b"".join(lines[:number] + lines[number + 1 :]), key), line


def test_a_proof_put_together_of_true_parts_does_not_hold(proved):
    data, key = proved
    true = proof.parse(data)
    other = VerifierKey.parse(key)
    stranger, seed = made(other.name)
    checkpoint, _ = note.parse_checkpoint(true.note)
    chosen = random.Random(1)
    for _ in range(50):
        index = chosen.randrange(0, 8)
        path = tuple(chosen.sample(true.path, chosen.randrange(0, len(true.path) + 1)))
        if (index, path) != (true.leaf_index, true.path):
            assert not holds(true._replace(leaf_index=index, path=path).to_bytes(), key)
    own = Checkpoint(other.name, 1, hashlib.sha256(b"\0" + true.body).digest())
    forged = Proof(true.body, 0, (), note.sign(own.text, [(stranger, seed)]).encode())
    assert not holds(forged.to_bytes(), key)
    assert not holds(true._replace(note=note.sign(checkpoint.text, [(stranger, seed)]).encode()).to_bytes(), key)
    inner = true.note.replace(f"\n{checkpoint.size}\n".encode(), f"\n{checkpoint.size + 1}\n".encode())
    assert not holds(true._replace(note=inner).to_bytes(), key)
    assert true.disclosed is not None
    for changed in (true.disclosed._replace(nonce=bytes(32)), true.disclosed._replace(parameters={"labels": {}})):
        assert not holds(true._replace(disclosed=changed).to_bytes(), key)
    assert holds(true._replace(disclosed=None).to_bytes(), key)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"\0", b"[" * 5_000, b'{"seq":1}', b'{"actor":{},"operation":"x","seq":true,"time":1}',
        b'{"actor":{},"operation":"x","seq":1,"time":1e9}', b'{"actor":{},"operation":"x","seq":1,"time":-1}',
    ],
)  # fmt: skip
def test_a_leaf_that_is_no_record_of_ours_is_none_though_it_is_signed(cli, body):
    key, seed = made()
    checkpoint = Checkpoint(ORIGIN, 1, hashlib.sha256(b"\0" + body).digest())
    text = Proof(body, 0, (), note.sign(checkpoint.text, [(key, seed)]).encode()).to_bytes()
    done = check(cli, text, "--key", str(key))
    assert (done.code, done.err) == (10, "")
    assert done.out == "INVALID: the proof does not hold\nflaw: what it shows is no record\n"


def test_what_a_signed_record_says_cannot_steer_a_terminal(cli):
    key, seed = made()
    body = json.dumps(
        {"actor": {"host": "h", "name": "\x1b[2J\x9b"}, "operation": "\x1b]0;x\x07", "reason": "\u202e\x00", "seq": 1,
         "target": "\n\t", "time": 1}, sort_keys=True, separators=(",", ":"),
    ).encode()  # fmt: skip
    checkpoint = Checkpoint(ORIGIN, 1, hashlib.sha256(b"\0" + body).digest())
    done = check(cli, Proof(body, 0, (), note.sign(checkpoint.text, [(key, seed)]).encode()).to_bytes(), "--key", str(key))
    assert done.code == 0
    assert len(done.out.splitlines()) == 4
    assert not {character for character in done.out if character != "\n" and character != "\t" and not character.isprintable()}
