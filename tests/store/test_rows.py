"""What protects a row is written in one way, whoever writes it."""

from __future__ import annotations

import hmac
import json

from hypothesis import given
from hypothesis import strategies as st

from tokenctl.model.identifier import new_id
from tokenctl.store.protection import Protector


@given(seq=st.integers(1, 2**53), nonce=st.binary(min_size=32, max_size=32))
def test_the_tag_of_a_nonce_is_the_mac_of_its_canonical_text(seq, nonce):
    protector = Protector(key=b"k" * 32, store_id=new_id(0))
    text = json.dumps(["tokenctl/row/v1", protector.store_id, "nonce", [seq, nonce.hex()]], separators=(",", ":"))
    assert protector.nonce_tag(seq, nonce) == hmac.digest(b"k" * 32, text.encode(), "sha256")[:16]
