"""The besieged, each a process of its own: ``python -m osp2p.lab.besieged '{"role": …}'``.

A ``tracker``; ``members`` of a swarm, each of which shares some files and fetches all others, round after round; and
``old`` holders that speak the base protocol alone. Each has an address of its own on loopback, as honest peers on a
network do. They are what users run, the node and the tracker of this package, with a few orders around:

``{"do": "fetch", "seconds": N}``
    to a member: fetch everything, verify it against what the files are made from, throw it away, again and again, as
    long as the time is not over. A ``round`` is told for each, ``rested`` at the end.
``{"do": "count"}``
    tell ``counts``: open file descriptors, living tasks, and how long a task had to wait for its turn at most since
    the last time.
"""

from __future__ import annotations

import filecmp
import json
import os
import random
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from osp2p.errors import ConnectFailed, TrackerError
from osp2p.lab.holder import run_holder
from osp2p.lab.orders import StallMeter, count_open, read_orders, write_record
from osp2p.limits import DEFAULT
from osp2p.net import Network, TcpNetwork
from osp2p.net.errors import describe
from osp2p.net.tcp import TcpConnection
from osp2p.peer.events import Event, TrackerLost, TransferDone, TransferFailed, Withdrawn
from osp2p.peer.node import Node, open_node
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted
from osp2p.tracker import TrackerOptions, serve_tracker
from osp2p.wire.address import Address, parse_address
from osp2p.wire.word import quote, unquote

#: Linux: a bound socket takes its port only when it connects, so that one address may have more than 28,000.
_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


#: Of so many holders it is told what became of them, where a file did not arrive.
_MOST_SHOWN = 40


class AddressNetwork(TcpNetwork):
    """This machine's network, as one of its loopback addresses sees it.

    Args:
        address: where connections come from.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    async def connect(self, host: str, port: int) -> TcpConnection:
        sock = trio.socket.socket()
        try:
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            await sock.bind((self._address, 0))
            await sock.connect((host, port))
            return TcpConnection(socket.socket(fileno=sock.detach()))
        except OSError as error:
            sock.close()
            raise ConnectFailed(f"{Address(host, port)}: {describe(error)}") from error
        except BaseException:
            sock.close()
            raise

    def local_addresses(self) -> list[str]:
        return [self._address]

    def local_ipv6_addresses(self) -> list[str]:
        return []


# --- what everybody does ---


async def _obey(fetch: Any = None) -> None:
    """Carry out orders until there are no more."""
    meter = StallMeter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(meter.run)
        async for order in read_orders():
            if order["do"] == "count":
                write_record("counts", stall=meter.reset(), **count_open())
            elif order["do"] == "fetch" and fetch is not None:
                await fetch(float(str(order["seconds"])))
                write_record("rested")
        nursery.cancel_scope.cancel()


async def _be_tracker(plan: Mapping[str, Any]) -> None:
    async with trio.open_nursery() as nursery:
        network: Network = TcpNetwork()

        async def serve(task_status: trio.TaskStatus[list[Address]]) -> None:
            await serve_tracker(
                network=network,
                port=plan["port"],
                options=TrackerOptions(local=True),
                limits=DEFAULT,
                rng=random.Random(plan["seed"]),
                task_status=task_status,
            )

        addresses = await nursery.start(serve)
        write_record("ready", port=addresses[0].port)
        await _obey()
        nursery.cancel_scope.cancel()


async def _be_old(plan: Mapping[str, Any]) -> None:
    contents = _read_all(plan["files"])
    tracker = parse_address(plan["tracker"].encode(), ipv6=False)
    async with trio.open_nursery() as nursery:
        address = await nursery.start(run_holder, tracker, plan["alias"].encode(), contents, None, DEFAULT)
        write_record("ready", port=address.port)
        await _obey()
        nursery.cancel_scope.cancel()


def _read_all(paths: Mapping[str, str]) -> dict[bytes, bytes]:
    return {unquote(name.encode()): Path(path).read_bytes() for name, path in paths.items()}


# --- members ---


async def _be_member(plan: Mapping[str, Any]) -> None:
    async with open_node(
        trackers=[plan["tracker"]],
        network=AddressNetwork(plan["address"]),
        alias=plan["alias"].encode(),
        port=plan["port"],
        cache=Path(plan["cache"]),
        rng=random.Random(f"{plan['seed']} {plan['alias']}"),
        limit_down=plan["rate"],
        report=_note,
    ) as node:
        await node.share(Path(plan["shared"]))
        address = await node.listen()
        write_record("ready", port=address.port)
        member = _Member(node, plan)
        await _obey(member.fetch)


def _note(event: Event) -> None:
    """Tell of what must not happen: a tracker that was there is gone, or takes something no more."""
    if isinstance(event, TrackerLost):
        write_record("lost", why=event.reason)
    elif isinstance(event, Withdrawn):
        write_record("withdrawn", name=_show(event.name), why=event.reason)


class _Member:
    """Fetches everything that it does not share, round after round."""

    def __init__(self, node: Node, plan: Mapping[str, Any]) -> None:
        self._node = node
        self._target = Path(plan["target"])
        self._wanted = {unquote(name.encode()): Path(path) for name, path in plan["wanted"].items()}
        self._rng = random.Random(f"{plan['seed']} {plan['alias']} order")
        self._round = 0

    async def fetch(self, seconds: float) -> None:
        """Fetch until the time is over; the round that has begun is brought to its end."""
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            await self._fetch_all()

    async def _fetch_all(self) -> None:
        self._round += 1
        target = self._target / f"round{self._round}"
        names = sorted(self._wanted)
        self._rng.shuffle(names)
        wanted = [Wanted(name, target / os.fsdecode(name)) for name in names]
        options = GetOptions(beneath=target, sync=False)  # it is the network that is measured, not the disk
        done: list[TransferDone] = []
        failed: list[TransferFailed] = []
        target.mkdir(parents=True)
        begun = trio.current_time()
        try:
            async with self._node.open_get(wanted, options) as events:
                async for event in events:
                    if isinstance(event, TransferDone):
                        done.append(event)
                    elif isinstance(event, TransferFailed):
                        failed.append(event)
        except TrackerError as error:  # it was not there at the beginning
            failed.append(TransferFailed(b"everything", error))
            await trio.sleep(DEFAULT.reconnect_most)
        took = trio.current_time() - begun
        wrong = await trio.to_thread.run_sync(self._compare, done, target, bool(failed))
        write_record(
            "round",
            number=self._round,
            seconds=took,
            files=len(done),
            bytes=sum(one.size for one in done),
            fetched=sum(one.fetched for one in done) + sum(one.fetched for one in failed),
            blamed=Counter(str(source.error) for one in done for source in one.sources if source.error),
            failed=[[_show(one.name), type(one.error).__name__, _show_failure(one)] for one in failed],
            wrong=wrong,
        )
        await trio.to_thread.run_sync(shutil.rmtree, target)

    def _compare(self, done: list[TransferDone], target: Path, partial: bool) -> list[str]:
        """What has arrived and is not what it should be, and what lies there that nobody asked for.

        Args:
            partial: whether something failed, of which a partial file may stay.
        """
        wrong = []
        for one in done:
            if one.path != target / os.fsdecode(one.name):
                wrong.append(f"{_show(one.name)} arrived as {one.path.name}")
            elif one.verified is None:
                wrong.append(f"{_show(one.name)} is not verified")
            elif not filecmp.cmp(one.path, self._wanted[one.name], shallow=False):
                wrong.append(f"{_show(one.name)} is not what it should be")
        expected = {one.path for one in done}
        there = {path for path in target.rglob("*") if not path.is_dir()}
        strange = [path for path in sorted(there - expected) if not (partial and path.name.startswith("."))]
        return wrong + [f"{path.relative_to(target)} is there, too" for path in strange]


def _show_failure(failed: TransferFailed) -> str:
    """Why a file did not arrive, and what became of each holder that was asked for it."""
    said = [f"{_show(one.alias)} at {one.address}: {one.error or 'nothing'}" for one in failed.sources[:_MOST_SHOWN]]
    return f"{failed.error} ({'; '.join(said) or 'nobody was asked'})"


def _show(name: bytes) -> str:
    return quote(name).decode()


ROLES = {"tracker": _be_tracker, "member": _be_member, "old": _be_old}


def main() -> None:
    """Be what the first argument says, until there are no more orders."""
    plan = json.loads(sys.argv[1])
    trio.run(ROLES[plan["role"]], plan)


if __name__ == "__main__":
    main()
