"""Grades a tracker or a peer: an honest user first, then dialogues, speed, the extension, attacks, and its memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Literal

import trio

from osp2p.errors import ConnectFailed, NotAllowed, NothingAsked, SourceRefused
from osp2p.evil import LOOPBACK, Subnet
from osp2p.evil.bounds import is_allowed
from osp2p.grade.attacks import Force, Siege, Sieges, sieges
from osp2p.grade.keeper import GONE, MAX_MEMORY, Keeper, exchange, have_back, open_keeper
from osp2p.grade.peer_base import PEER_BASE
from osp2p.grade.peer_extension import PEER_EXTENSION, wait_hashed
from osp2p.grade.peer_speed import PEER_SPEED
from osp2p.grade.scenes import Report, play_scene
from osp2p.grade.stage import Specimen, Stage, Subject, show
from osp2p.grade.steps import Scene
from osp2p.grade.tracker_base import TRACKER_BASE
from osp2p.grade.tracker_extension import TRACKER_EXTENSION
from osp2p.grade.tracker_speed import TRACKER_SPEED
from osp2p.grade.verdict import Check, Grade, Judged, Selection, Wrong
from osp2p.net import Network, TcpNetwork
from osp2p.wire.address import Address

Server = Literal["tracker", "peer"]

#: Largest file of a graded peer: it is kept in memory, and fetched again and again.
MAX_SPECIMEN = 64 * 1024 * 1024

MEMORY = Check("robustness/memory", "robustness", f"It never holds more than {MAX_MEMORY >> 20} MiB of memory.")

_SCENES: dict[Server, tuple[Scene, ...]] = {
    "tracker": (*TRACKER_BASE, *TRACKER_SPEED, *TRACKER_EXTENSION),
    "peer": (*PEER_BASE, *PEER_SPEED, *PEER_EXTENSION),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a program is graded.

    Attributes:
        seed: of all that is made up.
        selection: which checks are asked.
        patience: seconds that one attack goes on at most; None: as long as a sound program may need to end it.
        allowed: the only networks whose hosts are attacked.
        command: starts the program, and again whenever it died; empty: it runs already.
        name: of a peer, the file that it shares, raw bytes.
        content: what that file holds; None: what the peer sends at first.
        forbidden: of a peer, names that lie on its disk and must not be served, raw bytes.
    """

    seed: int = 1
    selection: Selection = field(default_factory=Selection)
    patience: float | None = 5.0
    allowed: Sequence[Subnet] = LOOPBACK
    command: Sequence[str] = ()
    name: bytes = b""
    content: bytes | None = None
    forbidden: tuple[bytes, ...] = ()


def checks_of(kind: Server) -> list[Check]:
    """The catalogue: every check of a kind of server."""
    return [*(scene.check for scene in _SCENES[kind]), *(siege.check for siege in sieges(kind)), MEMORY]


async def grade_server(kind: Server, host: str, port: int, terms: Terms, report: Report) -> Grade:
    """Grade a tracker or a peer.

    Args:
        host, port: where it listens.
        report: told of each verdict; may not raise.

    Raises:
        NothingAsked: the selection leaves no check.
        NotAllowed: it would be attacked, and is in no network that may be.
        CommandFailed: the command does not start it.
        ConnectFailed: nobody listens there.
        SourceRefused: of a peer: it does not serve the file.

    Cancellation: all connections are closed, and a program that was started here is ended.
    """
    network = TcpNetwork()
    scenes = [scene for scene in _SCENES[kind] if terms.selection.takes(scene.check)]
    attacks = [siege for siege in sieges(kind) if terms.selection.takes(siege.check)]
    memory = bool(terms.command) and terms.selection.takes(MEMORY)
    if not scenes and not attacks and not memory:
        raise NothingAsked("no check has an id that was asked for; --list shows all")
    numeric = await _resolve(network, host)
    if attacks and not is_allowed(numeric, terms.allowed):
        raise NotAllowed(
            f"{host} is in none of the networks that may be attacked: {', '.join(map(str, terms.allowed))}"
        )
    begun = trio.current_time()
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(open_keeper(network, numeric, port, terms.command))
        subject = await _meet(Subject(kind=kind, network=network, host=numeric, port=port, seed=terms.seed), terms)
        grading = _Grading(subject, keeper, terms, report)
        judged = await grading.run(scenes, attacks)
        if memory:
            judged.append(_judge_memory(keeper))
            report(judged[-1])
    seconds = trio.current_time() - begun
    return Grade(kind, str(Address(numeric, port)), terms.seed, seconds, tuple(judged))


async def _resolve(network: Network, host: str) -> str:
    found = await network.resolve(host)
    if not found:
        raise ConnectFailed(f"there is no host {host}")
    return found[0]


async def _meet(subject: Subject, terms: Terms) -> Subject:
    """Be an honest user for the first time. Returns: the subject, with its file if it is a peer."""
    if subject.kind == "peer":
        content = terms.content
        if content is None:
            content = await _first_fetch(subject, terms.name)
        found = replace(subject, specimen=Specimen(terms.name, content), forbidden=terms.forbidden)
        try:
            await exchange(found)
        except Wrong as wrong:
            raise SourceRefused(f"the peer does not serve {show(terms.name)} to an honest user: {wrong}") from None
        return found
    stage = Stage(subject, "first")
    try:
        await stage.open()
    except Wrong as wrong:
        raise ConnectFailed(str(wrong).removeprefix("it takes no connection: ")) from None
    finally:
        stage.close()
    return subject


async def _first_fetch(subject: Subject, name: bytes) -> bytes:
    """Fetch the file: it has to be the same ever after."""
    stage = Stage(replace(subject, specimen=Specimen(name, b"")), "first")
    try:
        talk = await stage.open()
        await talk.send(stage.fill("GET {file} OSP2P\n").encode("latin-1"))
        content = await talk.rest(MAX_SPECIMEN)
    except Wrong as wrong:
        raise ConnectFailed(str(wrong).removeprefix("it takes no connection: ")) from None
    finally:
        stage.close()
    if len(content) > MAX_SPECIMEN:
        raise SourceRefused(f"{show(name)} is larger than {MAX_SPECIMEN >> 20} MiB: choose a smaller file")
    if not content:
        raise SourceRefused(f"the peer does not serve {show(name)}, or it is empty")
    return content


class _Grading:
    """The checks of one program, one after the other, for as long as it lives."""

    def __init__(self, subject: Subject, keeper: Keeper, terms: Terms, report: Report) -> None:
        self._subject = subject
        self._keeper = keeper
        self._terms = terms
        self._report = report
        self._alive = True

    async def run(self, scenes: Sequence[Scene], attacks: Sequence[Siege]) -> list[Judged]:
        offered = await self._offers() if any(scene.check.category == "OSP2P/2" for scene in scenes) else True
        judged = [await self._judge(scene, offered) for scene in scenes]
        if not self._alive:
            gone = [Judged(siege.check, "not run", GONE) for siege in attacks]
            for one in gone:
                self._report(one)
            return [*judged, *gone]
        force = Force(patience=self._terms.patience, allowed=self._terms.allowed)
        return [*judged, *await Sieges(self._subject, self._keeper, force, self._report).run(attacks)]

    async def _offers(self) -> bool:
        """Whether the program speaks OSP2P/2: to one of 2007, HELLO is 500, or the end."""
        stage = Stage(self._subject, "hello")
        try:
            if (await stage.ask("HELLO OSP2P/2")).code != 200:
                return False
            if self._subject.kind == "peer":
                await wait_hashed(stage)
        except Wrong:  # and it may have died of it, which is found out by a check
            stage.close()
            self._alive = await have_back(self._keeper, self._subject)
            return False
        finally:
            stage.close()
        return True

    async def _judge(self, scene: Scene, offered: bool) -> Judged:
        judged = await self._outcome(scene, offered)
        self._report(judged)
        return judged

    async def _outcome(self, scene: Scene, offered: bool) -> Judged:
        if not offered and scene.check.category == "OSP2P/2":
            demanded = self._terms.selection.demands_osp2p2
            return Judged(scene.check, "failed" if demanded else "not offered", "it does not speak OSP2P/2")
        if not self._alive:
            return Judged(scene.check, "not run", GONE)
        judged = await play_scene(self._subject, scene)
        try:
            await exchange(self._subject)
        except Wrong as wrong:
            reason = judged.reason or f"after it, the program is of no use: {wrong}"
            death = await self._keeper.obituary()
            judged = replace(judged, outcome="failed", reason=f"{reason}: {death}" if death else reason)
            self._alive = await have_back(self._keeper, self._subject)
        return judged


def _judge_memory(keeper: Keeper) -> Judged:
    peak = f"{keeper.peak / (1 << 20):.0f} MiB"
    starts = {"started again": f"{keeper.starts - 1} times"} if keeper.starts > 1 else {}
    reason = f"it holds {peak} of memory" if keeper.peak > MAX_MEMORY else ""
    return Judged(MEMORY, "failed" if reason else "passed", reason, figures={"most": peak, **starts})
