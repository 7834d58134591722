"""An evil tracker: it knows who holds what, and attacks whoever asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import trio

from osp2p.evil.bounds import DEFAULT_BOUNDS, LOOPBACK, Bounds, Subnet
from osp2p.evil.encounter import Caller, Fact, Truth
from osp2p.evil.network import Network, SocketNetwork, Stream
from osp2p.evil.registry import Attack
from osp2p.evil.run import Report, ignore
from osp2p.evil.tracker import open_tracker
from osp2p.evil.trap import Trap, listen
from osp2p.limits import DEFAULT, Limits

#: How many of those who came an attack may remember.
_MOST_REMEMBERED = 100


async def run_evil_tracker(
    attack: Attack,
    truth: Truth | None = None,
    *,
    seed: int,
    network: Network | None = None,
    port: int = 0,
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Subnet] = LOOPBACK,
    limits: Limits = DEFAULT,
    report: Report = ignore,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Listen as a tracker and attack who connects; runs until cancelled.

    Args:
        attack: one whose role is ``tracker``.
        truth: what a sound tracker would say (`learn_truth` finds that out from one); None: there is nothing.
        seed: the n-th victim meets the same attack with the same randomness in every run.
        network: where it listens; None: this machine's.
        port: where it listens; 0: any free port.
        bounds: how far it may go.
        allowed: the only networks whose hosts are attacked.
        limits: what the victims' are thought to be.
        report: told of each attack when it ends; may not raise.
        task_status: gets host and port.

    Raises:
        ListenFailed: the port cannot be opened.

    Cancellation: all connections are closed.
    """
    listener = await listen(network or SocketNetwork(None, None), port, allowed)
    try:
        trap = Trap(seed, bounds, allowed, report)
        address = (listener.address.host, listener.address.port)
        known = replace(truth or Truth(), host=address[0], port=address[1])

        latest: deque[Caller] = deque(maxlen=_MOST_REMEMBERED)

        async def meet(stream: Stream) -> None:
            number = trap.next_number()
            caller = Caller(stream, trap.budget, number, trap.rng(attack, number), known, limits, latest)
            latest.append(caller)
            await trap.attack(attack, caller)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trap.serve, listener, meet)
            task_status.started(address)
            await trio.sleep_forever()
    finally:
        listener.close()
    raise AssertionError("only cancellation ends it")


async def learn_truth(
    host: str,
    port: int,
    *,
    network: Network | None = None,
    allowed: Sequence[Subnet] = LOOPBACK,
    limits: Limits = DEFAULT,
) -> Truth:
    """Ask a sound tracker for everything that it knows, so that an evil one can lie about it.

    Raises:
        NotAllowed: it is in none of the networks.
        TrackerUnreachable.
    """
    async with open_tracker(network or SocketNetwork(None, None), host, port, allowed, limits) as tracker:
        await tracker.say_hello()
        facts: dict[bytes, Fact] = {}
        for name in await tracker.list_names():
            known = await tracker.find_facts(name)
            holders = tuple(b"%s:%d" % (one.encode(), at) for one, at in await tracker.find_holders(name))
            size = int(known[b"SIZE"]) if known.get(b"SIZE", b"").isdigit() else 0
            facts[name] = Fact(size, known.get(b"B3", b""), known.get(b"MD5", b""), holders)
    return Truth(facts)
