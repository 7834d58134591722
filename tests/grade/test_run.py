"""Whole grades of the sample peers: the sound one passes, the others fail, each for the reason that is in its code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from osp2p.errors import CommandFailed, ConnectFailed, NotAllowed, NothingAsked, SourceRefused
from osp2p.grade.keeper import is_listening
from osp2p.grade.run import Terms, checks_of, grade_server
from osp2p.grade.verdict import Grade, Judged, Selection
from tests.docs.grading_session import block_of
from tests.grade.samples import CAT, share
from tests.ports import free_ports
from tests.standins.old_peer import Habits, open_old_peer
from tests.tracker.talk import running_tracker


def assert_as_in_the_page(found: Mapping[str, Judged], sample: str) -> None:
    """The teacher's page says the same of each check."""
    page = block_of("osp2p grade peer", f"python {sample}_peer.py").outcomes
    ours = {id for id, one in found.items() if one.outcome == "failed"}
    assert ours == {id for id, mark in page.items() if mark == "FAILED"} & set(found)


ONE_ATTACK = "attack/requests/malformed"


async def grade(
    sample: str, directory: Path, *only: str, patience: float = 1.0, content: bytes | None = None, port: int = 0
) -> dict[str, Judged]:
    port = port or free_ports(1)[0]
    terms = Terms(
        command=share(sample, port, directory),
        name=b"cat.jpg",
        selection=Selection(only),
        patience=patience,
        content=content,
    )
    told: list[Judged] = []
    found: Grade = await grade_server("peer", "127.0.0.1", port, terms, told.append)
    assert {one.check.id for one in told} == {one.check.id for one in found.judged}
    assert not is_listening(port)
    return {one.check.id: one for one in found.judged}


async def test_the_sound_one_passes(tmp_path: Path) -> None:
    only = ("protocol/*", "robustness/*", "speed/*", "osp2p2/*", "attack/paths/*", "attack/names/*", ONE_ATTACK)
    found = await grade("sound", tmp_path, *only, content=CAT)
    offered = {id: one for id, one in found.items() if not id.startswith("osp2p2/")}
    assert {id: one.reason for id, one in offered.items() if one.outcome != "passed"} == {}
    assert_as_in_the_page(offered, "sound")
    assert len(offered) > 20


async def test_the_naive_one_serves_what_it_does_not_share_and_waits_for_ever(tmp_path: Path) -> None:
    found = await grade("naive", tmp_path, "robustness/escapes", "attack/paths/absolute", "protocol/*", ONE_ATTACK)
    assert "it sends 'root:" in found["robustness/escapes"].reason
    assert "it sends 'root:" in found["attack/paths/absolute"].reason
    assert any(b"passwd" in entry.data for entry in found["attack/paths/absolute"].evidence)
    assert found["protocol/odd-requests"].reason.startswith(r"it sends '500 what?\x0a'")
    assert found[ONE_ATTACK].outcome == "failed"
    assert_as_in_the_page(found, "naive")
    assert {id for id, one in found.items() if one.outcome == "passed"} == {
        "protocol/get", "protocol/crlf", "protocol/quoting", "protocol/no-such-file", "protocol/packets",
    }  # fmt: skip


async def test_the_crashing_one_is_started_again_and_each_death_is_told(tmp_path: Path) -> None:
    only = (
        "protocol/get",
        "protocol/no-such-file",
        "protocol/packets",
        "attack/paths/absolute",
        "attack/requests/blank",
    )
    found = await grade("crashing", tmp_path, *only, "robustness/memory")
    assert found["protocol/get"].outcome == found["protocol/packets"].outcome == "passed"
    assert "it ended with exit code 1, saying: FileNotFoundError" in found["protocol/no-such-file"].reason
    for id in ("attack/paths/absolute", "attack/requests/blank"):
        assert found[id].reason.startswith("under the attack, it dies: it ended with exit code 1, saying: ")
        assert found[id].evidence
    assert "not enough values to unpack" in found["attack/requests/blank"].reason
    assert_as_in_the_page(found, "crashing")
    again = found["robustness/memory"].figures["started again"]
    assert int(again.removesuffix(" times")) >= 3  # once for each death, and for what is tried again


async def test_whoever_dies_and_does_not_return_has_the_rest_not_run(tmp_path: Path) -> None:
    async with open_old_peer({b"cat.jpg": CAT}, Habits(one_at_a_time=False)) as peer:
        terms = Terms(name=b"cat.jpg", selection=Selection(("protocol/get", "protocol/crlf", ONE_ATTACK)))
        told: list[Judged] = []

        def report(judged: Judged) -> None:
            told.append(judged)
            peer.files.clear()  # from now on it is of no use

        found = await grade_server("peer", peer.host, peer.port, terms, report)
    assert [(one.check.id, one.outcome) for one in found.judged] == [
        ("protocol/get", "passed"), ("protocol/crlf", "failed"), (ONE_ATTACK, "not run"),
    ]  # fmt: skip
    assert not found.passed


async def test_the_extension_is_not_offered_and_fails_only_where_it_was_asked_for() -> None:
    async with open_old_peer({b"cat.jpg": CAT}, Habits()) as peer:
        for only, outcome, passed in ((("osp2p2/stat",), "failed", False), (("*/stat", "*/get"), "not offered", True)):
            terms = Terms(name=b"cat.jpg", selection=Selection(only))
            found = await grade_server("peer", peer.host, peer.port, terms, lambda judged: None)
            assert {one.check.id: one.outcome for one in found.judged}["osp2p2/stat"] == outcome
            assert found.passed == passed


async def test_our_tracker_passes_all_that_is_not_an_attack_and_some_that_are() -> None:
    only = ("protocol/quit", "osp2p2/stat", "attack/malformed/*", "attack/lines/long-names")
    async with running_tracker() as addresses:
        terms = Terms(selection=Selection(only))
        found = await grade_server("tracker", "localhost", addresses[0].port, terms, lambda judged: None)
    assert found.passed, [one.reason for one in found.judged]
    assert found.target == f"127.0.0.1:{addresses[0].port}"
    assert {one.check.category for one in found.judged} == {"protocol", "OSP2P/2", "robustness"}


async def test_what_keeps_a_grade_from_beginning(tmp_path: Path) -> None:
    port = free_ports(1)[0]

    async def begin(host: str = "127.0.0.1", at: int = port, only: str = "protocol/get", **terms: object) -> None:
        await grade_server("peer", host, at, Terms(selection=Selection((only,)), **terms), lambda judged: None)  # type: ignore[arg-type]

    with pytest.raises(NothingAsked):
        await begin(only="protocol/sing")
    with pytest.raises(NotAllowed, match="none of the networks"):
        await begin("192.0.2.1", only="attack/*")
    with pytest.raises(ConnectFailed, match="connection refused"):
        await begin(name=b"cat.jpg")
    with pytest.raises(ConnectFailed, match="no host"):
        await begin("no-such-host.invalid")
    with pytest.raises(CommandFailed, match="cannot run /no/such/program: no such file"):
        await begin(command=["/no/such/program"])
    with pytest.raises(CommandFailed, match=r"does not listen on port \d+: it ended with exit code 3, saying: tired"):
        await begin(command=[sys.executable, "-c", "import sys; print('tired'); sys.exit(3)"])
    async with open_old_peer({b"cat.jpg": CAT}, Habits()) as peer:
        with pytest.raises(SourceRefused, match=r"does not serve 'dog.jpg'"):
            await begin(at=peer.port, name=b"dog.jpg")
        with pytest.raises(CommandFailed, match="another program listens"):
            await begin(at=peer.port, command=["true"])


@pytest.mark.parametrize("kind", ["tracker", "peer"])
def test_the_catalogue_has_every_attack_once(kind: object) -> None:
    checks = checks_of("tracker" if kind == "tracker" else "peer")
    assert len({check.id for check in checks}) == len(checks) > 60
    assert {check.category for check in checks} == {"protocol", "robustness", "speed", "OSP2P/2"}
