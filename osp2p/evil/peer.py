"""An evil peer: it claims to hold what others hold, and attacks whoever fetches from it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import NoReturn

import trio

from osp2p.errors import ListenFailed, TrackerUnreachable
from osp2p.evil.contents import Contents
from osp2p.evil.encounter import DEFAULT_BOUNDS, LOOPBACK, Bounds, Budget, Network, Victim, is_allowed
from osp2p.evil.registry import Attack, select_attacks
from osp2p.evil.run import Attacked, Report, ignore, run_bounded
from osp2p.evil.tracker import Tracker, open_tracker
from osp2p.limits import DEFAULT, Limits

NOTHING: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class EvilPeer:
    """What `run_evil_peer` tells once it is at work.

    Attributes:
        host, port: where it is registered.
        names: what it claims to hold.
    """

    host: str
    port: int
    names: tuple[bytes, ...]


async def run_evil_peer(
    tracker_host: str,
    tracker_port: int,
    mode: str = "",
    names: Iterable[bytes] = (),
    *,
    seed: int,
    alias: bytes = b"evil",
    port: int = 0,
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Network] = LOOPBACK,
    limits: Limits = DEFAULT,
    look_every: float = 2.0,
    known: Mapping[bytes, bytes] = NOTHING,
    report: Report = ignore,
    task_status: trio.TaskStatus[EvilPeer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Register at a tracker as a holder of others' files and attack who connects; runs until cancelled.

    Args:
        tracker_host, tracker_port: the tracker.
        mode: ``family/name``, a family, or "" for all families in turn.
        names: raw names to claim; none: whatever the tracker lists, now and later.
        seed: the n-th victim meets the same attack with the same randomness in every run.
        alias: what it calls itself.
        port: where it listens; 0: any free port.
        bounds: how far it may go.
        allowed: the only networks whose hosts are attacked or asked for contents; the tracker must be there too.
        limits: those of talking to a tracker.
        look_every: seconds between two looks at what the tracker lists; it also keeps the connection alive.
        known: true contents by name that need not be fetched from honest holders first.
        report: told of each attack when it ends; may not raise.
        task_status: gets an `EvilPeer` once all names of the first look are claimed.

    Raises:
        UnknownAttack: there is none of that mode.
        NotAllowed: the tracker is in no allowed network.
        ListenFailed: the port cannot be opened.
        TrackerUnreachable: no tracker answers there, or it is gone.

    Cancellation: all connections are closed.
    """
    attacks = select_attacks(mode, "downloader")
    wanted = tuple(names)
    with _listen(port, allowed) as listener:
        async with open_tracker(tracker_host, tracker_port, allowed, limits) as tracker:
            own = (tracker.local_host, listener.getsockname()[1])
            contents = Contents(tracker, own, seed, bounds, allowed, known)
            server = _Server(attacks, seed, bounds, allowed, contents, report)
            lost: TrackerUnreachable | None = None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, listener)
                try:
                    await tracker.register(alias, own[1])
                    claimed: dict[bytes, bool] = {}
                    await _claim(tracker, contents, wanted or await tracker.list_names(), claimed)
                    task_status.started(EvilPeer(*own, tuple(name for name, taken in claimed.items() if taken)))
                    await _look_again(tracker, contents, wanted, claimed, look_every)
                except TrackerUnreachable as error:  # raised behind the nursery, which would wrap it
                    lost = error
                    nursery.cancel_scope.cancel()
    raise lost or AssertionError("only a lost tracker ends it")


async def _claim(tracker: Tracker, contents: Contents, names: Sequence[bytes], claimed: dict[bytes, bool]) -> None:
    """Learn what has not been claimed yet, then claim it."""
    new = [name for name in dict.fromkeys(names) if name not in claimed]
    checksums = {name: await contents.learn(name) for name in new}
    for name, checksum in checksums.items():
        claimed[name] = await tracker.claim(name, checksum)


async def _look_again(
    tracker: Tracker, contents: Contents, wanted: Sequence[bytes], claimed: dict[bytes, bool], every: float
) -> NoReturn:
    """Claim what the tracker lists later, if everything is wanted; keep the connection alive."""
    while True:
        await trio.sleep(every)
        if wanted:
            await tracker.keep_alive()
        else:
            await _claim(tracker, contents, await tracker.list_names(), claimed)


@contextmanager
def _listen(port: int, allowed: Sequence[Network]) -> Iterator[trio.socket.SocketType]:
    """A listening socket: on loopback alone where nobody else may be attacked."""
    host = "127.0.0.1" if all(network.is_loopback for network in allowed) else "0.0.0.0"
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1000)
    except OSError as error:
        sock.close()
        raise ListenFailed(f"cannot listen on {host}:{port}: {error.strerror}") from error
    with trio.socket.from_stdlib_socket(sock) as listener:
        yield listener


class _Server:
    """Takes victims and gives each the next attack."""

    def __init__(
        self,
        attacks: Sequence[Attack[Victim]],
        seed: int,
        bounds: Bounds,
        allowed: Sequence[Network],
        contents: Mapping[bytes, bytes],
        report: Report,
    ) -> None:
        self._attacks = attacks
        self._seed = seed
        self._allowed = allowed
        self._budget = Budget(bounds)
        self._contents = contents
        self._report = report
        self._number = 0

    async def serve(self, listener: trio.socket.SocketType) -> NoReturn:
        places = trio.Semaphore(self._budget.bounds.connections)
        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                sock, (host, *_) = await listener.accept()
                if is_allowed(host, self._allowed) and self._budget.left > 0:
                    nursery.start_soon(self._meet, trio.SocketStream(sock), host, places)
                else:
                    sock.close()
                    places.release()

    async def _meet(self, stream: trio.SocketStream, host: str, places: trio.Semaphore) -> None:
        chosen = self._attacks[self._number % len(self._attacks)]
        rng = Random(f"{self._seed} {chosen.id} {self._number}")
        self._number += 1
        victim = Victim(stream, host, self._budget, rng, self._contents)
        begun = trio.current_time()
        try:
            ended = await run_bounded(chosen, victim, self._budget.bounds)
            seconds = trio.current_time() - begun
            self._report(Attacked(chosen.id, host, victim.name, victim.sent, seconds, ended))
        finally:
            stream.socket.close()
            places.release()
