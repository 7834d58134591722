"""Identities: files that hold a key, and the addresses that follow from keys."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from osp2p.errors import StoreError
from osp2p.rpc.identity import address_of, hold_identity, is_signed, load_identity, new_identity


def test_the_address_is_the_target_of_the_signed_item() -> None:
    key = bytes(range(32))
    assert address_of(key) == hashlib.sha1(key + b"osp2p").hexdigest()


def test_a_signature_is_the_keys_and_the_texts() -> None:
    one, other = new_identity(), new_identity()
    signature = one.sign(b"text")
    assert is_signed(one.key, signature, b"text")
    assert not is_signed(one.key, signature, b"another text")
    assert not is_signed(other.key, signature, b"text")
    assert not is_signed(one.key, signature[:-1], b"text")
    assert not is_signed(b"short", signature, b"text")
    assert one.address != other.address


def test_a_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity"
    made = load_identity(path)
    assert load_identity(path).address == made.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["identity"]
    assert made.private.private_bytes_raw().hex() in path.read_text()
    assert made.private.private_bytes_raw().hex() not in repr(made)


@pytest.mark.parametrize(
    "text",
    ["", "hello", "osp2p identity, keep it secret\nabcd\n", "osp2p identity, keep it secret\n" + "g" * 64, "\xff"],
)
def test_another_file_is_no_identity(tmp_path: Path, text: str) -> None:
    path = tmp_path / "identity"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(StoreError, match="no identity file"):
        load_identity(path)
    assert path.read_text() == text


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    load_identity(path)
    path.chmod(0o640)
    with pytest.raises(StoreError, match="chmod 600"):
        load_identity(path)


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"--identity names another.*: file exists"):
        load_identity(tmp_path / "file" / "identity")
    with pytest.raises(StoreError):
        load_identity(tmp_path)


def test_one_at_a_time_serves_under_an_identity(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    with hold_identity(path) as held:
        assert load_identity(path).address == held.address
        with pytest.raises(StoreError, match="another process"), hold_identity(path):
            pass
    with hold_identity(path) as again:
        assert again.address == held.address
