"""The dialogues: sound programs pass all, those of 2007 all of the base, and others fail for the right reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import trio

from osp2p.grade.peer_base import PEER_BASE
from osp2p.grade.peer_extension import PEER_EXTENSION, wait_hashed
from osp2p.grade.peer_speed import PEER_SPEED
from osp2p.grade.scenes import play_scene
from osp2p.grade.stage import Specimen, Stage, Subject
from osp2p.grade.steps import Scene
from osp2p.grade.tracker_base import TRACKER_BASE
from osp2p.grade.tracker_extension import TRACKER_EXTENSION
from osp2p.grade.tracker_speed import TRACKER_SPEED
from osp2p.grade.verdict import Judged, Kind
from osp2p.net import TcpNetwork
from osp2p.peer.node import open_node
from tests.standins.old_peer import Habits, open_old_peer
from tests.standins.old_tracker import open_old_tracker
from tests.tracker.talk import running_tracker

CAT = b"meow" * 100_000
TRACKER = (*TRACKER_BASE, *TRACKER_EXTENSION, *TRACKER_SPEED)
PEER = (*PEER_BASE, *PEER_EXTENSION, *PEER_SPEED)


def subject(kind: Kind, port: int, answer_within: float = 5.0) -> Subject:
    specimen = Specimen(b"cat.jpg", CAT) if kind == "peer" else None
    return Subject(
        kind=kind, network=TcpNetwork(), host="127.0.0.1", port=port, specimen=specimen, answer_within=answer_within
    )


async def failures(whom: Subject, scenes: tuple[Scene, ...]) -> dict[str, str]:
    """The reason of each scene that fails, by id."""
    judged = [await play_scene(whom, scene) for scene in scenes]
    assert all(one.evidence for one in judged)
    return {one.check.id: one.reason for one in judged if one.outcome == "failed"}


def test_ids_are_unique_and_every_check_says_what_a_sound_program_does() -> None:
    for scenes in (TRACKER, PEER):
        checks = [scene.check for scene in scenes]
        assert len({check.id for check in checks}) == len(checks)
        assert all(check.title.endswith(".") for check in checks)


async def test_our_tracker_passes() -> None:
    async with running_tracker() as addresses:
        assert await failures(subject("tracker", addresses[0].port), TRACKER) == {}


async def test_a_tracker_of_2007_passes_the_base_but_for_its_hole() -> None:
    async with open_old_tracker() as tracker:
        assert set(await failures(subject("tracker", tracker.port), TRACKER_BASE)) == {"robustness/alias-injection"}


async def test_our_peer_passes(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "cat.jpg").write_bytes(CAT)
    async with running_tracker() as addresses:
        tracker = f"127.0.0.1:{addresses[0].port}"
        async with open_node(trackers=[tracker], port=0, cache=tmp_path / "cache") as node:
            await node.share(tmp_path / "shared")
            address = await node.listen()
            whom = subject("peer", address.port)
            stage = Stage(whom, "hashed")
            await wait_hashed(stage)
            stage.close()
            assert await failures(whom, PEER) == {}


async def test_a_peer_of_2007_passes_the_base_as_far_as_one_at_a_time_goes() -> None:
    async with open_old_peer({b"cat.jpg": CAT}, Habits(one_at_a_time=False)) as peer:
        assert await failures(subject("peer", peer.port), PEER_BASE) == {}
    async with open_old_peer({b"cat.jpg": CAT}, Habits()) as peer:
        found = await failures(subject("peer", peer.port, 0.5), PEER_BASE)
    assert set(found) == {"robustness/byte-by-byte"}


Answer = Callable[[bytes], bytes]


async def grade_scripted(kind: Kind, answer: Answer, greeting: bytes, *ids: str) -> dict[str, Judged]:
    """Play scenes against a server that answers each line by a function, and closes where that says nothing."""

    async def serve(stream: trio.SocketStream) -> None:
        buffer = b""
        await stream.send_all(greeting)
        async for data in stream:
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                reply = answer(line)
                if not reply:
                    return
                await stream.send_all(reply)

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        whom = subject(kind, listener.socket.getsockname()[1], 0.3)
        scenes = TRACKER if kind == "tracker" else PEER
        found = {scene.check.id: await play_scene(whom, scene) for scene in scenes if scene.check.id in ids}
        nursery.cancel_scope.cancel()
    return found


async def test_a_tracker_that_always_agrees_fails() -> None:
    found = await grade_scripted(
        "tracker", lambda line: b"200 sure\n", b"200 hi\n", "protocol/greeting", "protocol/have-want", "protocol/quit"
    )
    assert found["protocol/greeting"].outcome == "passed"
    assert "there is no line 'PEER ga" in found["protocol/have-want"].reason
    assert found["protocol/quit"].reason == "it does not close the connection within 0.3 s, after 0 bytes"


async def test_a_tracker_without_answers_fails() -> None:
    found = await grade_scripted("tracker", lambda line: b"", b"200 hi\n", "protocol/greeting")
    assert found["protocol/greeting"].reason == "it closes the connection instead of answering 'HELP'"
    found = await grade_scripted("tracker", lambda line: b"20", b"200 hi\n", "protocol/greeting")
    assert found["protocol/greeting"].reason == "no whole answer to 'HELP' within 0.3 s"
    found = await grade_scripted("tracker", lambda line: b"", b"500 go away\n", "protocol/greeting")
    assert found["protocol/greeting"].reason == "its greeting has the code 500"
    assert [entry.data for entry in found["protocol/greeting"].evidence if entry.kind == "<"] == [b"500 go away"]


async def test_a_peer_that_sends_error_texts_fails() -> None:
    found = await grade_scripted("peer", lambda line: b"500 no\n", b"", "protocol/get", "protocol/no-such-file")
    assert "does not close the connection" in found["protocol/get"].reason


async def test_nobody_there_fails_everything() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    judged = await play_scene(subject("tracker", port), TRACKER_BASE[0])
    assert judged.reason.startswith("it takes no connection: ")
