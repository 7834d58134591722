"""Links: there and back, and nothing but links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedLine
from osp2p.wire.link import Link, parse_link

_B3 = bytes(range(32))
_HOSTS = st.sampled_from(["tracker.example.org", "192.0.2.7", "2001:db8::1", "localhost"])


@given(_HOSTS, st.integers(1, 65535), st.binary(min_size=1, max_size=80), st.binary(min_size=32, max_size=32))
def test_round_trip(host: str, port: int, name: bytes, b3: bytes) -> None:
    link = Link(host, port, name, b3)
    text = str(link)
    assert parse_link(text) == link
    assert text.isascii()
    assert not set(text) & set('?& \t\n;|<>"')


def test_the_form_is_the_specified_one() -> None:
    link = Link("tracker", 11111, b"photos/cat 1.jpg", _B3)
    assert str(link) == f"osp2p://tracker:11111/photos/cat%201.jpg#b3={_B3.hex()}"


def test_the_port_may_be_left_out() -> None:
    assert parse_link(f"osp2p://tracker/a#b3={_B3.hex()}").port == 11111


@given(st.binary(min_size=1, max_size=80))
def test_there_may_be_no_tracker(name: bytes) -> None:
    link = Link("", 0, name, _B3)
    assert str(link).startswith("osp2p:///")
    assert parse_link(str(link)) == link


@pytest.mark.parametrize(
    "text",
    [
        "",
        "osp2p://",
        "http://tracker/a#b3=" + "0" * 64,
        "osp2p://tracker/#b3=" + "0" * 64,
        "osp2p://tracker/a",
        "osp2p://tracker/a#b3=" + "0" * 63,
        "osp2p://tracker/a#b3=" + "G" * 64,
        "osp2p://tracker/a#b3=" + "A" * 64,
        "osp2p://tracker:0/a#b3=" + "0" * 64,
        "osp2p://tracker:99999/a#b3=" + "0" * 64,
        "osp2p://:1/a#b3=" + "0" * 64,
        "osp2p://tracker/a b#b3=" + "0" * 64,
        "osp2p://tracker/a#b3=" + "0" * 64 + "\n",
        "osp2p://träcker/a#b3=" + "0" * 64,
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedLine):
        parse_link(text)


@given(st.text(max_size=200))
def test_any_text_gives_a_link_or_the_documented_error(text: str) -> None:
    try:
        parse_link("osp2p://" + text)
    except MalformedLine:
        pass
