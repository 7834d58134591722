"""The evil peer of 2007's command line: attacks whoever fetches, on this machine alone."""

from __future__ import annotations

import os
import random
from argparse import Namespace

import trio

from osp2p.cli.arguments import chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE
from osp2p.cli.text import escape, format_seconds, format_size
from osp2p.evil import Attacked, EvilPeer, run_evil_peer
from osp2p.net.groups import one_error
from osp2p.wire.address import parse_tracker


async def run_evil(arguments: Namespace, console: Console) -> int:
    """Be evil until cancelled.

    Raises:
        UnknownAttack, NotAllowed, ListenFailed, TrackerError.
    """
    host, port = parse_tracker(chosen_trackers(arguments)[0])
    names = list(map(os.fsencode, arguments.files))
    alias = arguments.alias or b"evil"

    send, receive = trio.open_memory_channel[Attacked](float("inf"))

    async def attack(task_status: trio.TaskStatus[EvilPeer]) -> None:
        await run_evil_peer(
            host,
            port,
            arguments.evil,
            names,
            seed=random.randrange(2**32),
            alias=alias,
            port=arguments.port or 0,
            report=send.send_nowait,
            task_status=task_status,
        )

    with one_error():
        async with trio.open_nursery() as nursery:
            peer: EvilPeer = await nursery.start(attack)
            claimed = ", ".join(map(escape, peer.names)) or "nothing yet"
            console.note(f"evil peer at {peer.host}:{peer.port} claims to hold {claimed}; Ctrl-C ends it")
            async for event in receive:
                console.note(_attack_line(event))
    return DONE


def _attack_line(event: Attacked) -> str:
    name = escape(event.name) or "nothing"
    end = f"{event.ended} after {format_seconds(event.seconds)}, {format_size(event.sent)} sent"
    return f"{event.attack} against {event.host}, who asked for {name}: {end}"
