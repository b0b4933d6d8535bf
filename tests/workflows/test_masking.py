"""A secret is masked wherever a stream is cut, and nothing else is touched."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tokenctl.secret import Secret
from tokenctl.workflows.masking import MASK, Masker

SECRET = b"abaabab"
# Streams that nearly hold the secret, in pieces of every size.
STREAM = st.lists(st.sampled_from([b"a", b"b", b"ab", SECRET, SECRET[:-1], SECRET[1:], b"x"]), max_size=30).map(b"".join)


@given(stream=STREAM, cuts=st.lists(st.integers(0, 200), max_size=12))
def test_pieces_give_what_the_whole_gives(stream: bytes, cuts: list[int]) -> None:
    masker = Masker(Secret(SECRET))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    shown = b"".join(masker.feed(stream[begin:end]) for begin, end in itertools.pairwise(edges)) + masker.end()
    assert shown == stream.replace(SECRET, MASK)


@given(stream=STREAM)
def test_no_more_is_kept_back_than_may_begin_the_secret(stream: bytes) -> None:
    masker = Masker(Secret(SECRET))
    shown = masker.feed(stream)
    kept = masker.end()
    assert SECRET.startswith(kept)
    assert len(kept) < len(SECRET)
    assert shown + kept == stream.replace(SECRET, MASK)
