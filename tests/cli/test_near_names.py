"""Names near one that nobody has: which parts of a tracker's list are looked at, and what is proposed."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.cli.near_names import LONGEST, MOST, beginnings, nearest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"Film.mkv", [b"", b"Fi", b"Film", b"film", b"FILM"]),
        (b"films/20/old.mkv", [b"", b"films/20/ol", b"films/20/old", b"films/20/OLD", b"films/20/Old"]),
        (b"7", [b"", b"7"]),
        (b".hidden", [b"", b".hid", b".hidden", b".HIDDEN"]),
        ("öde.txt".encode(), [b"", "öd".encode(), "öde".encode(), "ÖDE".encode(), "Öde".encode()]),
        (b"x" * (LONGEST + 1), [b""]),
    ],
)
def test_parts_of_a_list_where_a_name_may_stand(name: bytes, expected: list[bytes]) -> None:
    assert beginnings(name) == expected


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        (b"Film.mkv", [b"film.mkv", b"dog.txt"], [b"film.mkv"]),
        (b"Film.mkv", [b"Film.mk"], [b"Film.mk"]),
        (
            b"Film.mkv",
            [b"a/Film.mkv", b"FILM.MKV", b"Film.mk", b"Filme.mkv"],
            [b"FILM.MKV", b"a/Film.mkv"],
        ),
        (b"Flim.mkv", [b"Film.mkv", b"Fish.txt"], [b"Film.mkv"]),
        (b"Film.mkv", [b"Film.mkv"], []),  # somebody registered it meanwhile: nothing was mistyped
        (b"nothing", [b"cat.jpg", b"dog.txt"], []),
        (b"Film.mkv", [b"--output=/home/anna/Film.mkv", b"osp2p://h:1/Film.mkv", b"d" * 300 + b"/Film.mkv"], []),
        (b"x" * (LONGEST + 1), [b"x" * LONGEST], []),
        (b"gr\xfcn.txt", [b"gr\xfcn.tx", b"blau.txt"], [b"gr\xfcn.tx"]),
    ],
)
def test_names_that_are_near(name: bytes, listed: list[bytes], expected: list[bytes]) -> None:
    assert nearest(name, listed) == expected


NAMES = st.binary(min_size=1, max_size=12) | st.text("aAb./-ö", min_size=1, max_size=8).map(os.fsencode)


@given(NAMES, st.lists(NAMES, max_size=8))
def test_what_is_proposed_is_listed_and_can_be_typed(name: bytes, listed: list[bytes]) -> None:
    near = nearest(name, listed)
    assert set(near) <= set(listed) - {name}
    assert len(near) == len(set(near)) <= MOST
    assert not any(found.startswith((b"-", b"osp2p://")) for found in near)


def test_names_that_are_slow_to_compare_take_no_time_to_speak_of() -> None:
    listed = [b"ab" * (LONGEST // 2 - 20) + b"%d" % number for number in range(400)]
    begun = time.process_time()
    nearest(b"ba" * (LONGEST // 2), listed)
    assert time.process_time() - begun < 5
