"""Small worlds in memory and in virtual time: a victim of ours, its times the default ones, and one attack.

Threads would make virtual time jump, so their work is done where it is asked for. Links with rates make time pass where
bytes do, and no timeout needs to be waited for.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import trio
import trio.testing

from osp2p.content.chunks import chunk_hash, content_id
from osp2p.content.name import local_path
from osp2p.errors import NetworkError, Osp2pError, UnsafeName
from osp2p.evil import Attack, Attacked, Bounds, Fact, Truth, Verdict, run_attack, run_evil_peer, run_evil_tracker
from osp2p.evil.words import cut
from osp2p.limits import Limits
from osp2p.net import Admission, Connection, MemoryNetwork, serve_visits
from osp2p.net.memory_link import Link
from osp2p.peer.events import Event, SourceFailed, TransferDone, TransferFailed
from osp2p.peer.node import Node, open_node
from osp2p.peer.offer import Offer
from osp2p.peer.server import UploadServer
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.checksum import write_md5
from osp2p.wire.entry import FileEntry
from osp2p.wire.word import quote, unquote

T = TypeVar("T")

EVERYWHERE = [ipaddress.ip_network("10.0.0.0/8")]
TRACKER = "10.0.0.1"
TRACKER_PORT = 11111
PEER_PORT = 11112
NAME = b"cat 1.jpg"
SEED = 5

#: Limits whose default would cost seconds to pass: as many are enough to see that they bind.
LIMITS = replace(
    Limits(),
    max_connections=500,
    max_connections_per_host=300,
    max_peers_per_host=400,
    max_base_list=2000,
    max_answer_bytes=200_000,
    max_files=3000,
    max_registrations=20_000,
    max_list_page=2000,
    max_who_peers=300,
    unproved_before_hedge=4_000_000,
    swarm_from=1_000_000,
    idle_timeout=100.0,
    max_size=12_000_000,
    max_listed_files=20_000,
    max_reply_lines=20_000,
    max_reply_bytes=1_000_000,
    max_peer_reply_lines=5000,
    max_peer_reply_bytes=100_000,
    max_stored_peers_per_host=200,
    max_stored_items_per_host=50,
    neighbour_quiet=60.0,
    max_remembered_calls=500,
    max_call_body=50_000,
    max_call_bytes=1_000_000,
    max_contacts=100,
)

#: Everybody's line, and the attackers' to downloaders: bytes per second.
RATE = 20_000_000.0
EVIL_RATE = 4_000_000.0

#: Enough for any attack in virtual time, little enough for the machine.
BOUNDS = Bounds(connection_bytes=48_000_000, connection_seconds=700, buffer_bytes=1_000_000)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def run_in_virtual_time(work: Callable[..., Any], *args: Any) -> Any:
    """Run an async function in a loop of its own, in virtual time, with a scheduler that is seeded."""
    trio._core._run._r.seed(1)
    return trio.run(work, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def no_threads() -> Iterator[None]:
    """Have the work of threads done at once, by whoever asks for it."""

    async def run_here(work: Callable[..., T], *args: Any, **options: Any) -> T:
        await trio.lowlevel.checkpoint()
        return work(*args)

    before = trio.to_thread.run_sync
    trio.to_thread.run_sync = run_here  # type: ignore[assignment]
    try:
        yield
    finally:
        trio.to_thread.run_sync = before


# --- trackers ---


@asynccontextmanager
async def our_tracker(network: MemoryNetwork, limits: Limits = LIMITS) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(
                serve_tracker,
                network=network.host(TRACKER),
                port=TRACKER_PORT,
                options=TrackerOptions(),
                limits=limits,
                rng=random.Random(7),
            )
        )
        yield
        nursery.cancel_scope.cancel()


async def attack_tracker(attack: Attack, root: Path, limits: Limits = LIMITS) -> Verdict:
    """Run an attack against our tracker, with two sharers at it and an honest user beside the attack.

    Args:
        limits: the tracker's; the attack aims at `LIMITS`.
    """
    network = MemoryNetwork(TRACKER)
    async with our_tracker(network, limits), old_holder(network, 1), old_holder(network, 2):
        return await run_attack(
            attack,
            [network.host(f"10.0.6.{number}") for number in range(1, 17)],
            (TRACKER, TRACKER_PORT),
            seed=SEED,
            bounds=BOUNDS,
            allowed=EVERYWHERE,
            limits=LIMITS,
            honest=network.host("10.0.7.7"),
        )


# --- uploaders ---

#: What lies beside the shared directory or in it, and must not be served.
FORBIDDEN = (
    b"link",
    b"linked/secret",
    b"fifo",
    b".hidden",
    b"backup~",
    b"device",
    b".part.osp2p-part",
    b"../secret",
    b"../shared-too/secret",
)


def plant(root: Path) -> Path:
    """Lay out a directory to share, and traps around it. Returns: the directory."""
    shared, too = root / "shared", root / "shared-too"
    for directory in (shared, shared / "sub", too):
        directory.mkdir()
    (shared / os.fsdecode(NAME)).write_bytes(content(3_000_000))
    (shared / "small").write_bytes(content(1000))
    (shared / "sub" / "empty").touch()
    for path in (root / "secret", too / "secret", shared / ".hidden", shared / "backup~", shared / ".part.osp2p-part"):
        path.write_bytes(b"a secret")
    (shared / "link").symlink_to(root / "secret")
    (shared / "linked").symlink_to(too)
    (shared / "device").symlink_to("/dev/zero")
    os.mkfifo(shared / "fifo")
    return shared


async def attack_uploader(attack: Attack, root: Path, limits: Limits = LIMITS) -> Verdict:
    """Run an attack against a node of ours that shares a directory, with an honest user beside the attack.

    Args:
        limits: the node's; the attack aims at `LIMITS`.
    """
    network = MemoryNetwork("10.0.1.1")
    node = open_node(network=network, limits=limits, port=PEER_PORT, cache=root / "cache", rng=random.Random(3))
    async with node as sharer:
        await sharer.share(plant(root))
        return await run_attack(
            attack,
            [network.host(f"10.0.6.{number}") for number in range(1, 17)],
            ("10.0.1.1", PEER_PORT),
            seed=SEED,
            name=NAME,
            forbidden=FORBIDDEN,
            bounds=BOUNDS,
            allowed=EVERYWHERE,
            limits=LIMITS,
            honest=network.host("10.0.7.7"),
        )


# --- downloaders ---


@asynccontextmanager
async def old_holder(
    network: MemoryNetwork, number: int, files: dict[bytes, bytes] | None = None, pause: float = 1.0
) -> AsyncIterator[str]:
    """An honest holder of 2007, registered at the tracker with its checksums, that takes its time before it serves."""
    host = f"10.0.3.{number}"
    here = network.host(host, link=Link(RATE, RATE, 0.001))
    files = files or {}

    async def serve(connection: Connection) -> None:
        try:
            line = b""
            while not line.endswith(b"\n") and (data := await connection.receive(4096)):
                line += data
            words = line.split()
            if len(words) == 3 and words[0] == b"GET":
                await trio.sleep(pause)
                await connection.send(files.get(unquote(words[1]), b""))
                await connection.send_eof()
                while await connection.receive(4096):
                    pass
        except NetworkError:
            return
        finally:
            connection.close()

    async def accept() -> None:
        listener = await here.listen(PEER_PORT)
        while True:
            nursery.start_soon(serve, await listener.accept())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        said = [
            b"HAVE %s %s" % (quote(name), write_md5(hashlib.md5(body, usedforsecurity=False).digest()))
            for name, body in files.items()
        ]
        await nursery.start(_log_in, here, b"old%d" % number, said)
        yield host
        nursery.cancel_scope.cancel()


async def _log_in(
    network: MemoryNetwork, alias: bytes, said: list[bytes], *, hello: bool = False, task_status: trio.TaskStatus[None]
) -> None:
    """Register at the tracker and stay."""
    login = await network.connect(TRACKER, TRACKER_PORT)
    hellos = [b"HELLO OSP2P/2"] if hello else []
    for line in (*hellos, b"ADDR %s %s:%d" % (alias, network.address.encode(), PEER_PORT), *said):
        await login.send(line + b"\n")
        await login.receive(4096)
    task_status.started()
    while True:
        await trio.sleep(60)
        await login.send(b"\n")


@dataclass
class Outcome:
    """How a downloader stood an attack.

    Attributes:
        met: each connection of it that was attacked.
        errors: what became of files that did not arrive, by name.
        done: what became of the others.
        wrong: complaints about what lies on its disk, or was said of others.
        seconds: from the first question to the last file.
        hung: whether it had not ended long after the time that the attack gives it.
    """

    attack: Attack
    met: list[Attacked] = field(default_factory=list)
    errors: dict[bytes, Osp2pError] = field(default_factory=dict)
    done: dict[bytes, TransferDone] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    hung: bool = False

    @property
    def why(self) -> str:
        """What an unsound downloader did, or ""."""
        if self.wrong:
            return "; ".join(self.wrong)
        if self.hung or self.seconds > self.attack.within:
            return f"took {self.seconds:.1f} s"
        unsound = next((event.why for event in self.met if event.ended == "unsound"), "")
        if unsound:
            return unsound
        if self.attack.expect != "refused" and self.errors:
            return f"did not get {next(iter(self.errors))!r}: {next(iter(self.errors.values()))}"
        if not self.met and self.attack.role != "registrant":
            return "was not attacked"
        return ""


FILES = {NAME: content(3_000_000), b"small": content(1000)}

#: What is fetched among hundreds of liars, each of whom sends all of it.
FEWER_BYTES = {NAME: content(300_000), b"small": content(1000)}

#: Where honest holders are.
HONEST = ("10.0.1.1", "10.0.3.1")

#: What is done where the honest holder speaks no OSP2P/2, though the evil one does.
WITH_OLD_HOLDER = frozenset({"sybils/poison-b3", "chunks/base-lies"})

#: How often a downloader tries until it meets the attacker: holders are asked in random order.
_TRIES = 3


async def attack_downloader(attack: Attack, root: Path, limits: Limits = LIMITS) -> Outcome:
    """Fetch files with a node of ours, of which one holder, or the tracker, is evil, and others are honest."""
    if attack.role == "tracker":
        return await _lure(attack, root, limits)
    network = MemoryNetwork(TRACKER)
    outcome = Outcome(attack)
    files = FILES if attack.sybils == 1 else FEWER_BYTES
    evil = network.host("10.0.6.1", link=Link(EVIL_RATE, EVIL_RATE, 0.0005))
    async with trio.open_nursery() as nursery:
        await nursery.start(_open, our_tracker(network, replace(limits, max_connections_per_host=5000)))
        if attack.role == "old holder" or attack.id in WITH_OLD_HOLDER:
            await nursery.start(_open, old_holder(network, 1, files))
        else:
            await nursery.start(_open, _sharer(network, limits, files))
        await nursery.start(
            partial(
                run_evil_peer, TRACKER, TRACKER_PORT, attack.id, seed=SEED, network=evil, bounds=BOUNDS,
                allowed=EVERYWHERE, limits=LIMITS, known=files, report=outcome.met.append, look_every=30.0,
            )
        )  # fmt: skip
        for number in range(_TRIES):
            if number and (outcome.met or attack.role == "registrant"):
                break
            target = root / f"fetched{number}"
            async with _downloader(network, root, limits, TRACKER, number) as node:
                await _fetch(node, map(FileEntry, files), target, outcome)
            _look_at(target, root, files, outcome)
        nursery.cancel_scope.cancel()
    return outcome


async def _open(manager: Any, task_status: trio.TaskStatus[None]) -> None:
    """Keep something open as a task of a nursery."""
    async with manager:
        task_status.started()
        await trio.sleep_forever()


class _Shelf:
    """Offers from memory."""

    def __init__(self, files: dict[bytes, bytes]) -> None:
        self.offers = {name: _offer(name, body) for name, body in files.items()}

    def find(self, name: bytes, b3: bytes | None = None) -> Offer | None:
        return self.offers.get(name)

    def page(self, prefix: bytes, after: bytes, count: int) -> list[Offer]:
        return []


def _offer(name: bytes, body: bytes) -> Offer:
    fd = os.memfd_create("offer")
    os.write(fd, body)
    hashes = b"".join(chunk_hash(chunk) for chunk in cut(body))
    return Offer(name, len(body), lambda: os.dup(fd), b3=content_id(len(body), hashes), hashes=hashes)


@cache
def _shelf(size: int) -> _Shelf:
    """The offers of all files, whose largest has so many bytes: one shelf for all worlds, since nobody changes it."""
    return _Shelf(FILES if size == len(FILES[NAME]) else FEWER_BYTES)


@asynccontextmanager
async def _sharer(
    network: MemoryNetwork, limits: Limits, files: dict[bytes, bytes], *, at_tracker: bool = True
) -> AsyncIterator[None]:
    """An upload server of ours with the files, registered at the tracker with all that proves them."""
    here = network.host("10.0.1.1", link=Link(RATE / 4, RATE / 4, 0.005))
    listener = await here.listen(PEER_PORT)
    shelf = _shelf(len(files[NAME]))
    server = UploadServer(shelf, limits, lambda event: None)
    said = []
    for name, offer in shelf.offers.items():
        assert offer.b3 is not None
        md5 = write_md5(hashlib.md5(files[name], usedforsecurity=False).digest())
        said.append(b"HAVE %s %s size=%d b3=%s" % (quote(name), md5, offer.size, offer.b3.hex().encode()))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_visits, listener, server.serve, Admission(limits))
        if at_tracker:
            await nursery.start(partial(_log_in, here, b"honest", said, hello=True))
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _downloader(
    network: MemoryNetwork, root: Path, limits: Limits, tracker: str, number: int = 0
) -> AsyncIterator[Node]:
    here = network.host(f"10.0.2.{1 + number}", link=Link(RATE, RATE, 0.001))
    async with open_node(
        trackers=[f"{tracker}:{TRACKER_PORT}"],
        network=here,
        limits=limits,
        cache=root / f"cache{number}",
        rng=random.Random(number),
    ) as node:
        yield node


async def _fetch(node: Node, entries: Iterable[FileEntry], target: Path, outcome: Outcome) -> None:
    """Fetch files side by side; note what becomes of them."""
    target.mkdir()
    began = trio.current_time()
    wanted = []
    for entry in entries:
        with suppress(UnsafeName):
            wanted.append(Wanted(entry.name, local_path(target, entry.name, LIMITS), listed=entry))
    events: list[Event] = []
    with trio.move_on_after(2 * outcome.attack.within + 30) as scope:
        try:
            async with node.open_get(wanted, GetOptions(sync=False, beneath=target)) as coming:
                events += [event async for event in coming]
        except Osp2pError as error:
            outcome.errors |= {one.name: error for one in wanted}
    outcome.done |= {event.name: event for event in events if isinstance(event, TransferDone)}
    outcome.errors |= {event.name: event.error for event in events if isinstance(event, TransferFailed)}
    outcome.seconds = max(outcome.seconds, trio.current_time() - began)
    outcome.hung = outcome.hung or scope.cancelled_caught
    if outcome.attack.role != "tracker":  # which can make an honest holder's answers look wrong
        left = [event for event in events if isinstance(event, SourceFailed) and event.address.host in HONEST]
        outcome.wrong += [f"blamed an honest holder: {event.reason}" for event in left]


def _look_at(target: Path, root: Path, files: dict[bytes, bytes], outcome: Outcome) -> None:
    """See what lies on a downloader's disk: right files under their names, and what it needs to go on, nothing else."""
    for path in target.rglob("*"):
        name = os.fsencode(path.relative_to(target)).removesuffix(b"~1~")
        if path.is_dir() or (path.name.startswith(".") and "osp2p" in path.name):
            continue
        if path.read_bytes() != files.get(name):
            outcome.wrong.append(f"kept {name!r} with wrong content")
    escaped = [path.name for path in root.rglob("*escaped*")]
    if escaped:
        outcome.wrong.append(f"wrote {escaped[0]} outside")


#: How often a node may connect to an evil tracker in half a minute and more: it asks, and it shares.
_COMES_BACK = 60


async def _lure(attack: Attack, root: Path, limits: Limits) -> Outcome:
    """Let a node fetch everything that an evil tracker lists, and share through it, too."""
    network = MemoryNetwork(TRACKER)
    outcome = Outcome(attack)
    holder = b"10.0.1.1:%d" % PEER_PORT
    truth = Truth({name: Fact.of(body, [holder]) for name, body in FILES.items()})
    evil = network.host("10.0.6.1", link=Link(RATE, RATE, 0.0005))
    async with trio.open_nursery() as nursery:
        await nursery.start(_open, _sharer(network, limits, FILES, at_tracker=False))
        host, _ = await nursery.start(
            partial(
                run_evil_tracker, attack, truth, seed=SEED, network=evil, port=TRACKER_PORT, bounds=BOUNDS,
                allowed=EVERYWHERE, limits=LIMITS, report=outcome.met.append,
            )
        )  # fmt: skip
        target = root / "fetched"
        began = trio.current_time()
        async with _downloader(network, root, limits, host) as node:
            nursery.start_soon(_share_something, node, root)
            listed: list[FileEntry] = []
            with trio.move_on_after(2 * attack.within + 30) as scope:
                try:
                    listed, _ = await node.find([b"**"])
                except Osp2pError as error:
                    outcome.errors[b"**"] = error
            outcome.hung = scope.cancelled_caught
            outcome.seconds = trio.current_time() - began
            entries = {name: FileEntry(name) for name in FILES} | {entry.name: entry for entry in listed[:400]}
            await _fetch(node, entries.values(), target, outcome)
            outcome.errors = {name: error for name, error in outcome.errors.items() if name in FILES}
            await trio.sleep(30)
            if len(outcome.met) > _COMES_BACK:
                outcome.wrong.append(f"comes back {len(outcome.met)} times")
        _look_at(target, root, FILES, outcome)
        nursery.cancel_scope.cancel()
    return outcome


async def _share_something(node: Node, root: Path) -> None:
    """Share a file of one's own, too: whatever the tracker makes of it."""
    path = root / "own"
    path.write_bytes(b"own")
    with suppress(Osp2pError):
        await node.share_file(b"own", path)
