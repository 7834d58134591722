"""``osp2p evil`` as a user runs it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from osp2p.evil import list_attacks
from osp2p.evil.words import write_checksum
from tests.cli.processes import World
from tests.standins.old_client import open_old_connection
from tests.standins.old_peer import Habits, open_old_peer
from tests.standins.old_tracker import OldTracker, open_old_tracker


@pytest.fixture
async def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def tracker() -> AsyncIterator[OldTracker]:
    async with open_old_tracker() as running:
        yield running


async def test_the_catalogue_is_one_array_or_text(world: World) -> None:
    listed = await world.run("evil", "--list", "--json")
    entries = json.loads(listed.out)
    assert [entry["id"] for entry in entries] == [one.id for one in list_attacks()]
    for entry in entries:
        assert list(entry) == ["id", "against", "breaks", "expect", "within", "text"]
    shown = await world.run("evil", "--list", "lines", "wrong/bit")
    text = shown.out.decode()
    assert "lines/drip" in text
    assert "wrong/bit" in text
    assert "wrong/file" not in text
    assert listed.code == shown.code == 0


async def test_a_part_of_the_catalogue(world: World) -> None:
    shown = await world.run("evil", "--list", "--against", "downloader", "--within", "30s", "--json")
    found = [(entry["against"], entry["within"] <= 30) for entry in json.loads(shown.out)]
    assert set(found) == {("downloader", True)}
    wrong = await world.run("evil", "tracker", "127.0.0.1:1")
    assert wrong.code == 2
    assert b"osp2p evil --list --against tracker" in wrong.err


async def test_verdicts_and_the_exit_code_say_how_a_tracker_stood_it(world: World, tracker: OldTracker) -> None:
    where = f"{tracker.host}:{tracker.port}"
    good = await world.run("evil", "lines/half-nonsense", where)
    assert good.code == 2
    assert b"there is no attack lines/half-nonsense; of that family there are lines/" in good.err
    mixed = await world.run("evil", "aliases/newline", "malformed/order", where, "--json", "--seed", "7")
    verdicts = {str(record["attack"]): record for record in mixed.of("verdict")}
    assert verdicts["malformed/order"]["passed"]
    assert not verdicts["aliases/newline"]["passed"], "the tracker of 2007 prints aliases raw"
    assert "alias" in str(verdicts["aliases/newline"]["why"])
    assert any("injected" in line for part in verdicts["aliases/newline"]["evidence"] for line in part)  # type: ignore[attr-defined]
    assert mixed.code == 10


async def test_attacks_on_peers_that_meet_a_tracker_are_told_so(world: World, tracker: OldTracker) -> None:
    ran = await world.run("evil", "requests/half-closed", f"{tracker.host}:{tracker.port}")
    assert b"greets as a tracker does, and these attacks are for peers that share" in ran.err
    async with open_old_peer({b"a": bytes(3000)}, Habits(one_at_a_time=False)) as peer:
        ran = await world.run("evil", "requests/half-closed", f"{peer.host}:{peer.port}")
    assert b"greets as a tracker" not in ran.err


async def test_a_peer_is_asked_for_a_file_beside_the_attack(world: World) -> None:
    async with open_old_peer({b"a": bytes(3000)}, Habits(one_at_a_time=False)) as peer:
        done = await world.run("evil", "paths/outside", f"{peer.host}:{peer.port}", "--file", "a", "-v")
        assert done.code == 0
        assert b"ok        paths/outside" in done.out
        assert b"GET ../x OSP2P" in done.out, "the evidence"
        missing = await world.run("evil", "paths/outside", f"{peer.host}:{peer.port}", "--file", "b")
        assert missing.code == 10
        assert b"does not serve 'b'" in missing.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["evil"], 2, b"which attack?"),
        (["evil", "lines"], 2, b"which attack?"),
        (["evil", "lines", "127.0.0.1:x"], 2, b"the last word, is not HOST:PORT"),
        (["evil", "127.0.0.1:1"], 2, b"which attack?"),
        (["evil", "*", "127.0.0.1:1"], 2, b"say --against"),
        (["evil", "wrong/bit", "127.0.0.1:1"], 2, b"try osp2p evil --peer wrong/bit"),
        (["evil", "lines/bytes", "192.0.2.1:1"], 2, b"in none of the networks"),
        (["evil", "lines/drip", "127.0.0.1:1", "--within", "5s"], 2, b"the shortest takes up to 75 s"),
        (["evil", "tracker", "--port", "0"], 2, b"one way at a time"),
        (["evil", "--peer", "tracker/deaf"], 2, b"played by a tracker"),
        (["evil", "lines/bytes", "127.0.0.1:1"], 4, b"onnection refused"),
        (["evil", "lines/bytes", "127.0.0.1:1", "--network-i-own", "x"], 2, b"is no ADDR/PREFIX"),
    ],
)
async def test_what_cannot_be_done_is_said(world: World, words: list[str], code: int, said: bytes) -> None:
    done = await world.run(*words)
    assert (done.code, done.out) == (code, b"")
    assert said in done.err, done.err


async def test_an_evil_peer_tells_whom_it_attacked(world: World, tracker: OldTracker) -> None:
    where = f"{tracker.host}:{tracker.port}"
    async with (
        open_old_peer({b"a": bytes(3000)}, tracker=(tracker.host, tracker.port)),
        world.start("evil", "--peer", "truncated/half", "-t", where, "--json") as evil,
    ):
        peer = await evil.record("evil peer")
        assert peer["names"] == ["a"]
        async with await trio.open_tcp_stream(str(peer["host"]), int(str(peer["port"]))) as stream:
            await stream.send_all(b"GET a OSP2P\n")
            assert len(b"".join([data async for data in stream])) == 1500
        attacked = await evil.record("attack")
        assert (attacked["attack"], attacked["name"], attacked["sent"]) == ("truncated/half", "a", 1500)
        assert await evil.end() == 130


async def test_an_evil_tracker_knows_what_a_sound_one_does(world: World, tracker: OldTracker) -> None:
    where = f"{tracker.host}:{tracker.port}"
    async with (
        open_old_peer({b"a": bytes(3000)}, tracker=(tracker.host, tracker.port)),
        world.start("evil", "facts/wrong-md5", "--port", "0", "-t", where, "--json") as evil,
    ):
        told = await evil.record("evil tracker")
        assert told["files"] == 1
        async with open_old_connection(str(told["host"]), int(str(told["port"]))) as asker:
            assert (await asker.ask(b"WANT a")).startswith(b"PEER peer0 127.0.0.1:")
            assert (await asker.ask(b"MD5SUM a")).splitlines()[0] == write_checksum(b"another file")
        assert await evil.end() == 130
