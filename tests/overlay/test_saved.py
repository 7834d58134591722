from __future__ import annotations

from pathlib import Path

import pytest

from osp2p.errors import StoreError
from osp2p.limits import DEFAULT
from osp2p.overlay.compact import Contact
from osp2p.overlay.saved import load_contacts, save_contacts
from osp2p.wire.address import Address

CONTACTS = [
    Contact(bytes([1]) * 20, Address("20.0.0.1", 5)),
    Contact(bytes([2]) * 20, Address("2001:db8::1", 6)),
]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "saved"
    save_contacts(path, CONTACTS)
    assert load_contacts(path, DEFAULT) == CONTACTS
    save_contacts(path, CONTACTS[:1])
    assert load_contacts(path, DEFAULT) == CONTACTS[:1]
    assert [found.name for found in path.parent.iterdir()] == ["saved"]


@pytest.mark.parametrize("content", [b"", b"le", b"d5:nodesi1ee", b"d5:nodes3:abce", b"i5", b"\xff" * 100])
def test_a_damaged_file_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "saved"
    path.write_bytes(content)
    assert load_contacts(path, DEFAULT) == []
    assert load_contacts(tmp_path / "missing", DEFAULT) == []


def test_no_more_are_loaded_than_may_be(tmp_path: Path) -> None:
    many = [Contact(bytes([number]) * 20, Address("20.0.0.1", number + 1)) for number in range(250)]
    save_contacts(tmp_path / "saved", many)
    assert load_contacts(tmp_path / "saved", DEFAULT) == many[: DEFAULT.max_saved_contacts]


def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        save_contacts(tmp_path / "file" / "saved", CONTACTS)
