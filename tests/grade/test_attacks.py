"""How attacks are run side by side: quickly, and without one having to answer for another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import pytest
import trio

from osp2p.evil import Attack
from osp2p.evil.bounds import Unsound
from osp2p.evil.encounter import Target
from osp2p.grade.attacks import Force, Siege, Sieges, sieges
from osp2p.grade.keeper import Keeper
from osp2p.grade.stage import Specimen, Subject
from osp2p.grade.verdict import Check, Judged
from osp2p.net import TcpNetwork
from tests.grade.samples import CAT
from tests.standins.old_peer import Habits, OldPeer, open_old_peer


def siege(
    name: str, run: Callable[[Target], Awaitable[None]], expect: Literal["survived", "out-waited"] = "survived"
) -> Siege:
    attack = Attack(
        id=f"test/{name}", against="uploader", breaks="", expect=expect, within=30, text=".", role="client", run=run
    )
    return Siege(Check(f"attack/test/{name}", "robustness", "."), attack)


async def run(peer: OldPeer, tmp_path: Path, *all_sieges: Siege, patience: float = 0.6) -> list[Judged]:
    network = TcpNetwork()
    subject = Subject(
        kind="peer",
        network=network,
        host=peer.host,
        port=peer.port,
        answer_within=0.3,
        specimen=Specimen(b"cat.jpg", CAT),
    )
    keeper = Keeper(network, peer.host, peer.port, (), tmp_path / "said")
    told: list[Judged] = []
    found = await Sieges(subject, keeper, Force(patience=patience), told.append).run(all_sieges)
    assert sorted(one.check.id for one in told) == sorted(one.check.id for one in found)
    assert [one.check for one in found] == [one.check for one in all_sieges]
    return found


async def wait(target: Target) -> None:
    wire = await target.connect()
    await wire.hold()


async def test_attacks_that_wait_wait_together(tmp_path: Path) -> None:
    begun = trio.current_time()
    async with open_old_peer({b"cat.jpg": CAT}, Habits(one_at_a_time=False)) as peer:
        found = await run(peer, tmp_path, *(siege(f"{number}", wait) for number in range(6)), patience=1.0)
    assert [one.outcome for one in found] == ["passed"] * 6
    assert {one.figures["ended"] for one in found} == {"cut short"}
    assert trio.current_time() - begun < 5


async def test_evidence_is_of_each_attack_alone(tmp_path: Path) -> None:
    async def say(target: Target) -> None:
        wire = await target.connect()
        await wire.send(b"GET cat.jpg OSP2P\n")
        while await wire.receive():
            pass
        raise Unsound("does not please us")

    async with open_old_peer({b"cat.jpg": CAT}, Habits(one_at_a_time=False)) as peer:
        found = await run(peer, tmp_path, siege("say", say), siege("wait", wait))
    assert found[0].reason == "it does not please us"
    kinds = [entry.kind for entry in found[0].evidence]
    assert kinds == ["connect", ">", "<=", "<!", "close"]
    assert found[0].evidence[2].size == len(CAT)
    assert [entry.kind for entry in found[1].evidence] == ["connect", "close"]


async def test_an_honest_user_who_waits_too_long_has_a_complaint(tmp_path: Path) -> None:
    async with open_old_peer({b"cat.jpg": CAT}, Habits()) as peer:  # one connection at a time
        found = await run(peer, tmp_path, siege("wait", wait, "out-waited"), patience=1.5)
    assert found[0].reason.startswith("under the attack, an honest user is not served: it does not close")


async def test_who_fails_beside_others_is_tried_alone(tmp_path: Path) -> None:
    together = 0
    crowded: list[int] = []

    async def shy(target: Target) -> None:
        nonlocal together
        together += 1
        try:
            crowded.append(together)
            await trio.sleep(0.4)
            if max(crowded[-1], together) > 1:
                raise Unsound("cannot stand company")
        finally:
            together -= 1

    async with open_old_peer({b"cat.jpg": CAT}, Habits(one_at_a_time=False)) as peer:
        found = await run(peer, tmp_path, siege("one", shy), siege("two", shy))
    assert [one.outcome for one in found] == ["passed", "passed"]


async def test_the_one_that_makes_it_useless_is_blamed_and_no_other(tmp_path: Path) -> None:
    async with open_old_peer({b"cat.jpg": CAT}, Habits(one_at_a_time=False)) as peer:

        async def spoil(target: Target) -> None:
            peer.files.clear()
            await trio.sleep(0.1)
            raise Unsound("lets itself be spoilt")

        first = siege("wait", wait, "out-waited")  # it has patience enough to be still there when the next one comes
        found = await run(peer, tmp_path, first, siege("spoil", spoil), siege("last", wait), patience=60)
    assert [one.outcome for one in found] == ["not run", "failed", "not run"]


@pytest.mark.parametrize("kind", ["tracker", "peer"])
def test_attacks_come_from_the_registry(kind: str) -> None:
    found = sieges("tracker" if kind == "tracker" else "peer")
    assert len(found) > 30
    assert all(one.check.id == f"attack/{one.attack.id}" and one.check.title for one in found)
