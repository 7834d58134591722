"""The odd ones send what they are said to send."""

from __future__ import annotations

from tests.standins.odd import CHECKUPLOAD, RAW_NAMES, run_forked_children, send_odd_request
from tests.standins.old_client import open_old_connection
from tests.standins.old_peer import open_old_peer
from tests.standins.old_tracker import open_old_tracker


async def test_an_odd_request_arrives() -> None:
    async with open_old_peer({}) as peer:
        assert await send_odd_request(peer.host, peer.port) == b""
        assert peer.requests == [CHECKUPLOAD.rstrip()]


async def test_children_interleave_on_one_connection() -> None:
    scripts = [[b"HAVE %s" % name, b"WANT nothing", b"HAVE %s" % name] for name in RAW_NAMES]
    async with open_old_tracker() as tracker, open_old_connection(tracker.host, tracker.port) as connection:
        await connection.ask(b"ADDR anna 127.0.0.1:4001")
        answers = await run_forked_children(connection, scripts)
        assert sorted(answer[:3] for answer in answers) == sorted([b"200", b"300", b"220"] * len(scripts))
        heard = tracker.heard[1:]
        assert sorted(heard) == sorted(line for script in scripts for line in script)
        assert heard != [line for script in scripts for line in script], "one child after the other is no test"
