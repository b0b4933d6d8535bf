"""The strict JSON reader: what it refuses, what it keeps, and that nothing makes it stumble."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenctl.errors import TokenctlError
from tokenctl.formats.strict_json import MAX_DEPTH, MAX_INTEGER, MalformedJson, read_object, read_value

REFUSED = {
    "nothing at all": b"",
    "only white space": b"  \n",
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16 with its mark": '{"a":1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32-be"),
    "invalid UTF-8": b'{"a":"\xff"}',
    "overlong UTF-8": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "half a surrogate pair, escaped": b'{"a":"\\ud800"}',
    "the other half": b'{"a":"\\uDFFF"}',
    "halves in the wrong order": b'{"a":"\\udc00\\ud800"}',
    "half a pair in a name": b'{"\\ud800":1}',
    "half a pair deep in an array": b'{"a":[[["\\ud800"]]]}',
    "a name twice": b'{"a":1,"a":1}',
    "a name twice by an escape": b'{"alg":1,"\\u0061lg":2}',
    "a name twice deep inside": b'{"a":[{"b":{"c":1,"c":2}}]}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":Infinity}',
    "minus Infinity": b'{"a":-Infinity}',
    "a number that overflows": b'{"a":1e400}',
    "a negative number that overflows": b'{"a":-1e400}',
    "2^53 + 1": b'{"a":9007199254740993}',
    "-2^53 - 1": b'{"a":-9007199254740993}',
    "an integer of 5000 digits": b'{"a":' + b"1" * 5000 + b"}",
    "a fraction of 5000 digits": b'{"a":0.' + b"1" * 5000 + b"}",
    "a leading zero": b'{"a":01}',
    "a leading plus": b'{"a":+1}',
    "hexadecimal": b'{"a":0x10}',
    "single quotes": b"{'a':1}",
    "a comment": b'{"a":1}/**/',
    "a trailing comma": b'{"a":1,}',
    "text after it": b'{"a":1}x',
    "a second object": b"{}{}",
    "a NUL after it": b"{}\x00",
    "a no-break space around it": b"\xc2\xa0{}",
    "a form feed around it": b"\x0c{}",
    "a raw control character in a string": b'{"a":"\n"}',
    "a raw NUL in a string": b'{"a":"\x00"}',
    "an unknown escape": b'{"a":"\\x41"}',
    "a cut string": b'{"a":"',
    "a cut object": b'{"a":1',
    "an array": b"[]",
    "a string": b'"a"',
    "a number": b"1",
    "null": b"null",
    "a depth of 33": b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    "a depth of 100000": b"[" * 100_000,
    "objects to a depth of 5000": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "depth after closing brackets that match nothing": b"]" * 40 + b"[" * 60,
    "depth behind an escaped quote": b'{"a":"\\"","b":' + b"[" * 40 + b"]" * 40 + b"}",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refuses(data: bytes) -> None:
    with pytest.raises(MalformedJson):
        read_object(data, what="the header")


KEPT = {
    "white space of JSON": (b' \t\r\n{ "a" : 1 }\n', {"a": 1}),
    "2^53": (b'{"a":9007199254740992,"b":-9007199254740992}', {"a": MAX_INTEGER, "b": -MAX_INTEGER}),
    "a whole surrogate pair": (b'{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
    "an escaped backslash before ud800": (b'{"a":"\\\\ud800"}', {"a": "\\ud800"}),
    "brackets in strings": (json.dumps({"a": "[{" * 100 + '"'}).encode(), {"a": "[{" * 100 + '"'}),
    "names that differ in case": (b'{"alg":1,"ALG":2}', {"alg": 1, "ALG": 2}),
    "names that look alike": ('{"é":1,"e\u0301":2}'.encode(), {"é": 1, "e\u0301": 2}),
    "an empty name": (b'{"":0}', {"": 0}),
    "a fraction": (b'{"a":1.5e3}', {"a": 1500.0}),
    "a byte order mark inside a string": ('{"a":"\ufeff"}'.encode(), {"a": "\ufeff"}),
    "the same name in two objects": (b'{"a":{"b":1},"c":{"b":1}}', {"a": {"b": 1}, "c": {"b": 1}}),
}


@pytest.mark.parametrize(("data", "value"), KEPT.values(), ids=KEPT.keys())
def test_keeps(data: bytes, value: object) -> None:
    assert read_object(data, what="the header") == value


def test_reads_to_the_greatest_depth() -> None:
    assert read_value(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, what="the value")


def test_a_reason_repeats_nothing_of_the_content() -> None:
    for data in REFUSED.values():
        with pytest.raises(TokenctlError) as caught:
            read_object(b'{"hunter2":"hunter2",' + data, what="the header")
        assert "hunter2" not in caught.value.message
        assert caught.value.exit_code == 2
        assert caught.value.__cause__ is None


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_end_in_a_value_or_a_refusal(data: bytes) -> None:
    with suppress(MalformedJson):
        read_value(data, what="the value")


@given(st.text(alphabet='{}[]",:\\u0d8e1-.NaInfty \n\ufeff', max_size=60))
def test_texts_made_of_json_pieces_end_in_a_value_or_a_refusal(text: str) -> None:
    try:
        value = read_value(text.encode(), what="the value")
    except MalformedJson:
        return
    assert json.loads(text) == value
