"""docs/overlay.md tells the truth: its lesson is done, its keys are those of the code."""

from __future__ import annotations

from pathlib import Path

from osp2p.limits import DEFAULT
from osp2p.overlay.keys import content_key, many_key, name_key, network_tag, service_key, sharers_key
from osp2p.overlay.lookup import ALPHA
from osp2p.overlay.table import K
from tests.docs.lesson import Lesson
from tests.docs.markdown import code, read_document, read_table

DOCUMENT = read_document("overlay.md")


async def test_the_lesson_goes_as_printed(tmp_path: Path) -> None:
    await Lesson(tmp_path, ports=(5000, 5001), peer_ports=(5000, 5001)).run(DOCUMENT)


def test_keys_are_those_of_the_document() -> None:
    told = {row[0]: code(row[1]) for row in read_table(DOCUMENT, "key of", "SHA-1")}
    assert told == {
        "`net`": network_tag("osp2p").hex(),
        "`name cat.txt`": name_key("osp2p", b"cat.txt").hex(),
        "`b3` and 64 zeros": content_key("osp2p", bytes(32)).hex(),
        "`sharers`": sharers_key("osp2p").hex(),
        "`many`": many_key("osp2p").hex(),
        "`service clock`": service_key("osp2p", "clock").hex(),
    }


def test_numbers_are_those_of_the_code() -> None:
    assert f"k is {K}, alpha is {ALPHA}" in DOCUMENT
    for number in (
        f"more than {DEFAULT.max_announced_files} ",
        f"again every {DEFAULT.announce_interval / 60:.0f} minutes",
        f" and forgotten after {DEFAULT.peer_lifetime / 60:.0f}",
        f"{DEFAULT.overlay_in_rate:.0f} datagrams a\n  second from one address",
        f"{DEFAULT.overlay_out_rate:.0f} to one address ({DEFAULT.overlay_mainline_rate} in",
        f"{DEFAULT.max_stored_peers:,}\n  announcements, {DEFAULT.max_stored_peers_per_host} of one address",
    ):
        assert number.rstrip() in DOCUMENT, number
    assert DEFAULT.unproved_answer_factor == 3
