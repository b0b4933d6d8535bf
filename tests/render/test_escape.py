"""Text from outside fits its column whatever its script, and a cut one says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenctl.render.escape import cell, cut, escape, fold, pad, width


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("日本", 4), ("é", 1), ("e\u0301", 1), ("…", 1)])
def test_a_width_counts_what_a_terminal_shows(text, columns):
    assert width(text) == columns


@given(st.text(), st.integers(0, 30))
def test_a_cut_text_fits_and_is_the_beginning(text, columns):
    shown = cut(escape(text), columns)
    assert width(shown) <= columns
    assert escape(text).startswith(shown.removesuffix("…"))
    assert width(pad(shown, columns)) == columns


def test_what_fits_is_not_cut():
    assert cut("日本", 4) == "日本"
    assert cut("日本語", 5) == "日本…"
    assert cut("日本語", 4) == "日…"


def test_what_shows_nothing_is_escaped_and_a_column_reads_back_one_way():
    assert escape("a\u3164b\u115fc\ufe0fd") == "a\\u3164b\\u115fc\\ufe0fd"
    assert escape("é한") == "é한"
    assert cell("a\\tb") == "a\\\\tb"
    assert cell("a\tb") == "a\\tb"
    assert fold("head  ", "one two three four five six", 26) == "head  one two three four\n      five six"
