from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError, MalformedDatagram
from osp2p.overlay.bencode import encode
from osp2p.overlay.item import (
    BAD_SIGNATURE,
    MAX_SALT,
    SALT_TOO_LARGE,
    TOO_LARGE,
    ImmutableItem,
    mutable_target,
    public_bytes,
    read_immutable,
    read_mutable,
    sign_item,
    signed_text,
)

#: Source of these: BEP 44, "test vectors".
KEY = bytes.fromhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548")
HELLO = b"Hello World!"
PLAIN = bytes.fromhex(
    "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff"
    "1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01"
)
SALTED = bytes.fromhex(
    "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d"
    "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"
)

OURS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def test_the_standards_signed_item() -> None:
    assert signed_text(b"", 1, encode(HELLO)) == b"3:seqi1e1:v12:Hello World!"
    item = read_mutable(KEY, b"", 1, HELLO, PLAIN)
    assert item.target.hex() == "4a533d47ec9c7d95b1ad75f576cffc641853b750"


def test_the_standards_signed_item_with_salt() -> None:
    assert signed_text(b"foobar", 1, encode(HELLO)) == b"4:salt6:foobar3:seqi1e1:v12:Hello World!"
    item = read_mutable(KEY, b"foobar", 1, HELLO, SALTED)
    assert item.target.hex() == "411eba73b6f087ca51a3795d9c8c938d365e32c1"


def test_the_standards_immutable_item() -> None:
    assert ImmutableItem(HELLO).target.hex() == "e5f96f6f38320f0f33959cb4d3d656452117aadb"


@given(st.binary(max_size=900), st.integers(0, (1 << 63) - 1), st.binary(max_size=MAX_SALT))
def test_what_we_sign_is_taken(value: bytes, sequence: int, salt: bytes) -> None:
    item = sign_item(OURS, value, sequence, salt)
    assert read_mutable(item.key, item.salt, item.sequence, item.value, item.signature) == item
    assert item.target == mutable_target(public_bytes(OURS), salt)


@pytest.mark.parametrize(
    ("salt", "sequence", "value"), [(b"x", 5, b"value"), (b"", 6, b"value"), (b"", 5, b"valuf"), (b"", 5, [b"value"])]
)
def test_nothing_of_a_signed_item_can_be_changed(salt: bytes, sequence: int, value: bytes) -> None:
    item = sign_item(OURS, b"value", 5)
    with pytest.raises(MalformedDatagram) as caught:
        read_mutable(item.key, salt, sequence, value, item.signature)
    assert caught.value.code == BAD_SIGNATURE


@pytest.mark.parametrize(
    ("key", "salt", "sequence", "value", "signature", "code"),
    [
        (KEY, b"", 1, bytes(997), PLAIN, TOO_LARGE),
        (KEY, bytes(65), 1, HELLO, PLAIN, SALT_TOO_LARGE),
        (KEY[1:], b"", 1, HELLO, PLAIN, 203),
        (KEY, b"", 1, HELLO, PLAIN[1:], 203),
        (KEY, b"", -1, HELLO, PLAIN, 203),
        (bytes(31) + b"\xff", b"", 1, HELLO, PLAIN, BAD_SIGNATURE),
        (bytes(32), b"", 1, HELLO, bytes(64), BAD_SIGNATURE),
    ],
)
def test_what_is_refused(key: bytes, salt: bytes, sequence: int, value: bytes, signature: bytes, code: int) -> None:
    with pytest.raises(MalformedDatagram) as caught:
        read_mutable(key, salt, sequence, value, signature)
    assert caught.value.code == code


def test_values_have_1000_bytes_at_most() -> None:
    assert read_immutable(bytes(996)).target
    with pytest.raises(MalformedDatagram) as caught:
        read_immutable(bytes(997))
    assert caught.value.code == TOO_LARGE


@pytest.mark.parametrize(("value", "salt", "sequence"), [(bytes(997), b"", 1), (b"", bytes(65), 1), (b"", b"", -1)])
def test_we_sign_nothing_that_others_refuse(value: bytes, salt: bytes, sequence: int) -> None:
    with pytest.raises(LocalProtocolError):
        sign_item(OURS, value, sequence, salt)
