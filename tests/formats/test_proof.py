"""What is a proof and what is none; whether it holds is tested with the verb that checks it."""

from __future__ import annotations

import base64

import pytest

from tests.formats.test_note import made, signed
from tokenctl.errors import InvalidRequest
from tokenctl.formats import note, proof
from tokenctl.formats.proof import Disclosed, Proof

BODY = b'{"note":"a \\"quoted\\" \\u00e9","seq":1}'


def shown(*, disclosed: Disclosed | None = None, path: int = 2) -> Proof:
    return Proof(BODY, 0, tuple(bytes([number]) * 32 for number in range(path)), signed(3, made()), disclosed)


@pytest.mark.parametrize("disclosed", [None, Disclosed({}, bytes(32)), Disclosed({"labels": {"k": "\u00e9"}}, bytes(range(32)))])
@pytest.mark.parametrize("path", [0, 1, 63])
def test_what_is_written_is_read(disclosed, path):
    made = shown(disclosed=disclosed, path=path)
    assert proof.parse(made.to_bytes()) == made


def test_it_is_laid_out_as_the_specification_says():
    made = shown()
    head, _, rest = made.to_bytes().partition(b"\n\n")
    magic, extra, index, *path = head.decode().split("\n")
    assert (magic, index) == ("c2sp.org/tlog-proof@v1", "index 0")
    assert base64.b64decode(extra.removeprefix("extra ")) == b'{"body":' + note_text(BODY) + b"}"
    assert [base64.b64decode(line) for line in path] == list(made.path)
    assert rest == made.note


def note_text(body: bytes) -> bytes:
    return b'"' + body.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def extra(text: str) -> str:
    return f"extra {base64.b64encode(text.encode()).decode()}\n"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 0", "index 00"),
        lambda text: text.replace("index 0", "index -1"),
        lambda text: text.replace("index 0", "index +0"),
        lambda text: text.replace("index 0", "index " + "9" * 30),
        lambda text: text.replace("index 0\n", "index 0\nindex 0\n"),
        lambda text: text.replace("index 0\n", ""),
        lambda text: text.replace("index 0\n", "index 0\n" + "A" * 43 + "=\n" + "A" * 40 + "\n"),
        lambda text: text.replace("index 0\n", "index 0\n" + ("A" * 43 + "=\n") * 62),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("extra ", "extra  "),
        lambda text: text.replace("extra ", "Extra "),
        lambda text: "\n".join(line for line in text.split("\n") if not line.startswith("extra ")),
        lambda text: text.replace("extra ", extra('{"body":"x"}') + "extra "),
        lambda text: text.replace("index 0", extra("[]")[:-1]),
        lambda text: text.partition("\n\n")[0],
        lambda text: text.partition("\n\n")[0] + "\n\n",
        lambda text: text[:-1],
        lambda text: text + "x",
        lambda text: "x" * 3_000_000,
        lambda text: "\u00e9" + text,
    ],
)
def test_what_is_no_proof_is_refused(spoil):
    with pytest.raises(InvalidRequest):
        proof.parse(spoil(shown().to_bytes().decode()).encode())


@pytest.mark.parametrize(
    "text",
    [
        "{}", "[]", '{"body":1}', '{"body":"\u00e9"}', '{"body":"x","body":"x"}', '{"body": "x"}', '{"body":"x","more":1}',
        '{"body":"x","nonce":"00"}', '{"body":"x","nonce":"' + "00" * 32 + '"}', '{"body":"x","parameters":{}}',
        '{"body":"x","nonce":"' + "0A" * 32 + '","parameters":{}}', '{"body":"x","nonce":"' + "00" * 32 + '","parameters":[]}',
        '{"body":"x","nonce":"' + "00" * 32 + '","parameters":{"a":NaN}}', '{"body":"x","nonce":null,"parameters":null}',
        "[" * 100_000, '{"body":"\\ud800"}',
    ],
)  # fmt: skip
def test_an_extra_line_of_another_form_is_refused(text):
    written = shown().to_bytes().decode()
    line = next(line for line in written.split("\n") if line.startswith("extra "))
    with pytest.raises(InvalidRequest):
        proof.parse(written.replace(line + "\n", extra(text)).encode())


def test_no_byte_can_be_changed_without_the_proof_being_another_or_none():
    made = shown(disclosed=Disclosed({"note": "n"}, bytes(32)))
    data = made.to_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 0x20
        try:
            read = proof.parse(bytes(changed))
        except InvalidRequest:
            continue
        assert read != made, place
        assert read.to_bytes() == changed, place
    assert note.parse_checkpoint(made.note)
