"""``evil``: the catalogue, attacks on trackers and peers with a verdict for each, evil peers and evil trackers."""

from __future__ import annotations

import json
import os
import random
from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from osp2p.cli.arguments import UsageError, chosen_trackers
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.records import Record
from osp2p.cli.text import count_of, escape, format_seconds, format_size
from osp2p.errors import ConnectionLost, MalformedLine
from osp2p.evil import (
    EVERY_ROLE,
    LOOPBACK,
    Attack,
    Attacked,
    EvilPeer,
    Exchange,
    SocketNetwork,
    Verdict,
    find_allowed,
    find_attacks,
    learn_truth,
    list_attacks,
    run_attack,
    run_evil_callee,
    run_evil_nodes,
    run_evil_peer,
    run_evil_tracker,
)
from osp2p.net.groups import one_error
from osp2p.wire.address import parse_tracker

#: From how many addresses of this machine attacks come that need several.
_SOURCES = tuple(f"127.66.{number}.66" for number in range(1, 17))

#: The roles of those who listen for their victims.
_SERVERS = ("tracker", "neighbour", "callee")

#: How long a server may take to greet: trackers do, peers wait to be asked.
_GREETING_SECONDS = 0.5

#: Behind what stands a line of evidence.
_MARGIN = " " * 10


async def attack(arguments: Namespace, console: Console) -> int:
    """Do what the words and options of ``osp2p evil`` say. Returns: the exit code.

    Raises:
        UsageError, AttackError, NetworkError, TrackerError.
    """
    if arguments.list:
        found = find_attacks(arguments.words) if arguments.words else list_attacks()
        list_catalogue([one for one in found if _is_asked_for(one, arguments)], console)
        return DONE
    if arguments.peer:
        return await _be_peer(arguments, console)
    if not arguments.words:
        raise UsageError("which attack? osp2p evil --list shows all")
    if arguments.port is not None:
        return await _be_server(arguments, console)
    return await _attack_server(arguments, console)


def list_catalogue(attacks: Sequence[Attack], console: Console) -> None:
    """Print what there is."""
    if console.json:
        entries = [
            {
                "id": one.id,
                "against": one.against,
                "breaks": one.breaks,
                "expect": one.expect,
                "within": one.within,
                "text": one.text,
            }
            for one in attacks
        ]
        console.say(*json.dumps(entries, indent=1).splitlines())
        return
    for one in attacks:
        console.say(
            f"{one.id:<28} against: {one.against:<11} expect: {one.expect} within {one.within:g} s",
            f"    breaks: {one.breaks}",
            f"    {one.text}",
        )
    console.note(count_of(len(attacks), "attack"))


# --- trackers and peers ---


async def _attack_server(arguments: Namespace, console: Console) -> int:
    """Run attacks one after the other against a tracker or a peer."""
    *patterns, where = arguments.words
    try:
        address = parse_tracker(where)
    except MalformedLine as error:
        raise UsageError(f"{escape(where)}, the last word, is not HOST:PORT: {error}") from None
    if not patterns:
        raise UsageError("which attack? osp2p evil ID… HOST:PORT; osp2p evil --list shows all")
    attacks = _chosen(patterns, arguments)
    if attacks[0].against != "node":  # which may have a port for datagrams alone
        greeting = await _check_there(address, arguments)
        if attacks[0].against == "uploader" and greeting[:1].isdigit():
            console.note(
                f"{escape(where)} greets as a tracker does, and these attacks are for peers that share: "
                "osp2p evil --list shows which are against trackers"
            )
    passed = 0
    for one in attacks:
        verdict = await _attack_once(one, address, arguments)
        passed += verdict.passed
        _show(verdict, one, console, verbose=arguments.verbose)
    end = "stands all of them" if passed == len(attacks) else f"does not stand {len(attacks) - passed} of them"
    console.note(f"{escape(where)}: {count_of(len(attacks), 'attack')}; it {end}; seed {arguments.seed}")
    return DONE if passed == len(attacks) else NOT_PASSED


async def _check_there(address: tuple[str, int], arguments: Namespace) -> bytes:
    """See whether anybody is there to be attacked. Returns: what it says before it is asked anything, if it does.

    Raises:
        NotAllowed, ConnectFailed.
    """
    host = await find_allowed(*address, (*LOOPBACK, *arguments.network_i_own))
    stream = await SocketNetwork(None).connect(host, address[1])
    said = b""
    with suppress(ConnectionLost), trio.move_on_after(_GREETING_SECONDS):
        said = await stream.receive(1000)
    stream.close()
    return said


def _is_asked_for(one: Attack, arguments: Namespace) -> bool:
    """Whether an attack is one of those that the options leave."""
    long = arguments.within is not None and one.within > arguments.within
    return arguments.against in (None, one.against) and not long


def _chosen(patterns: Sequence[str], arguments: Namespace) -> list[Attack]:
    """The attacks that are meant, all of them against one kind of server.

    Raises:
        UsageError: there is none, or it is not clear against what.
        UnknownAttack.
    """
    found = find_attacks(patterns)
    attacks = [one for one in found if one.role == "client" and arguments.against in (None, one.against)]
    if not attacks:
        first = found[0]
        hint = f"osp2p evil {first.id} --port PORT" if first.role in _SERVERS else f"osp2p evil --peer {first.id}"
        raise UsageError(
            f"{first.id} is not for servers at HOST:PORT: {EVERY_ROLE[first.role]}; try {hint}; what is against a"
            " tracker shows osp2p evil --list --against tracker"
        )
    if len({one.against for one in attacks}) > 1:
        kinds = " and ".join(f"{kind}s" for kind in sorted({one.against for one in attacks}))
        raise UsageError(f"that means attacks against {kinds}: say --against tracker, uploader or node")
    chosen = [one for one in attacks if _is_asked_for(one, arguments)]
    if not chosen:
        shortest = min(one.within for one in attacks)
        raise UsageError(f"none of them may be ended within --within: the shortest takes up to {shortest:g} s")
    return chosen


async def _attack_once(one: Attack, address: tuple[str, int], arguments: Namespace) -> Verdict:
    networks = [SocketNetwork(), *(SocketNetwork(source) for source in _SOURCES)]
    return await run_attack(
        one,
        networks,
        address,
        seed=arguments.seed,
        name=os.fsencode(arguments.file[0]) if arguments.file else b"",
        forbidden=tuple(map(os.fsencode, arguments.forbidden)),
        allowed=(*LOOPBACK, *arguments.network_i_own),
        honest=SocketNetwork(None, None),
    )


def _show(verdict: Verdict, one: Attack, console: Console, *, verbose: int) -> None:
    """Show one verdict; with its evidence, where that is wanted."""
    if console.json:
        console.records([_record(verdict, one)])
        return
    mark = "ok" if verdict.passed else "FAILED"
    went = f"{format_seconds(verdict.seconds)}, {format_size(verdict.sent)} sent"
    lines = [f"{mark:<8}  {verdict.attack:<28} {verdict.outcome:<10} {went}"]
    if not verdict.passed:
        lines.append(f"{_MARGIN}{verdict.why}")
    if verbose:
        lines += [_MARGIN + line for exchange in verdict.exchanges for line in _evidence(exchange)]
    console.say(*lines)


def _evidence(exchange: Exchange) -> list[str]:
    parts = [f"{exchange.number}{direction} {ascii(data)[2:-1]}" for direction, data in exchange.parts]
    return [*parts, f"{exchange.number}  {exchange.sent} bytes sent, {exchange.received} received, {exchange.ended}"]


def _record(verdict: Verdict, one: Attack) -> Record:
    record: Record = {"event": "verdict", "attack": verdict.attack, "against": one.against, "passed": verdict.passed}
    record |= {"expect": one.expect, "outcome": verdict.outcome, "why": verdict.why}
    record |= {"seconds": round(verdict.seconds, 3), "within": one.within}
    record |= {"sent": verdict.sent, "received": verdict.received, "digest": verdict.digest}
    record |= {"slowest_probe": verdict.slowest_probe}
    record["evidence"] = [_evidence(exchange) for exchange in verdict.exchanges]
    return record


# --- downloaders ---


async def _be_peer(arguments: Namespace, console: Console) -> int:
    """Be evil peers at a tracker until cancelled: one for each word."""
    trackers = chosen_trackers(arguments)
    for word in arguments.words:
        if played := {one.role for one in find_attacks([word])} & set(_SERVERS):
            raise UsageError(f"{escape(word)} is played by a {played.pop()}; try osp2p evil {escape(word)} --port PORT")
    names = list(map(os.fsencode, arguments.file))
    modes = arguments.words or [""]

    async def run(report: trio.MemorySendChannel[Attacked], nursery: trio.Nursery) -> None:
        for number, mode in enumerate(modes):
            await _start_peer(
                nursery, console, trackers[0], mode, names,
                seed=arguments.seed, alias=b"evil%d" % number if number else b"evil", port=arguments.port or 0,
                allowed=(*LOOPBACK, *arguments.network_i_own), report=report.send_nowait,
            )  # fmt: skip

    return await _tell_of_attacks(run, console)


async def run_evil(arguments: Namespace, console: Console) -> int:
    """Be the evil peer of 2007's command line until cancelled.

    Raises:
        UnknownAttack, NotAllowed, ListenFailed, TrackerError.
    """
    names = list(map(os.fsencode, arguments.files))

    async def run(report: trio.MemorySendChannel[Attacked], nursery: trio.Nursery) -> None:
        await _start_peer(
            nursery, console, chosen_trackers(arguments)[0], arguments.evil, names,
            seed=random.randrange(2**32), alias=arguments.alias or b"evil", port=arguments.port or 0,
            report=report.send_nowait,
        )  # fmt: skip

    return await _tell_of_attacks(run, console)


async def _start_peer(
    nursery: trio.Nursery, console: Console, tracker: str, mode: str, names: Sequence[bytes], **options: Any
) -> None:
    """Start one evil peer, and say so."""
    host, port = parse_tracker(tracker)
    peer: EvilPeer = await nursery.start(partial(run_evil_peer, host, port, mode, names, **options))
    claimed = ", ".join(map(escape, peer.names)) or "nothing yet"
    if console.json:
        record: Record = {"event": "evil peer", "host": peer.host, "port": peer.port}
        console.records([record | {"names": [os.fsdecode(name) for name in peer.names]}])
        return
    console.note(f"evil peer at {peer.host}:{peer.port} claims to hold {claimed}; Ctrl-C ends it")


async def _be_server(arguments: Namespace, console: Console) -> int:
    """Be an evil tracker, evil nodes of an overlay, or evil nodes that take calls, until cancelled."""
    attacks = [one for one in find_attacks(arguments.words) if one.role in _SERVERS]
    if len(attacks) != 1:
        what = "is played by nobody who listens" if not attacks else f"means {len(attacks)} attacks"
        raise UsageError(f"with --port one is evil in one way at a time, and {' '.join(arguments.words)} {what}")
    (chosen,) = attacks
    allowed = (*LOOPBACK, *arguments.network_i_own)
    known = [parse_tracker(arguments.tracker[0])] if arguments.tracker else []
    options = {"seed": arguments.seed, "port": arguments.port, "allowed": allowed}
    truth = await learn_truth(*known[0], allowed=allowed) if known and chosen.role == "tracker" else None

    async def run(report: trio.MemorySendChannel[Attacked], nursery: trio.Nursery) -> None:
        options["report"] = report.send_nowait
        if chosen.role == "neighbour":
            host, port = await nursery.start(partial(run_evil_nodes, chosen, known, **options))
            if console.json:
                console.records([{"event": "evil nodes", "host": host, "port": port}])
            else:
                console.note(f"evil nodes at {host}:{port}: join through them, or meet them; Ctrl-C ends them")
            return
        if chosen.role == "callee":
            (key, host, port), *more = await nursery.start(partial(run_evil_callee, chosen, **options))
            target = f"{key.address.decode()}@{host}:{port}"
            others = f" and {count_of(len(more), 'other')}" if more else ""
            if console.json:
                console.records([{"event": "evil node", "target": target, "others": len(more)}])
            else:
                console.note(f"evil node {target}{others}: call it; Ctrl-C ends it")
            return
        host, port = await nursery.start(partial(run_evil_tracker, chosen, truth, **options))
        known_files = count_of(len(truth.facts) if truth else 0, "file")
        if console.json:
            console.records(
                [{"event": "evil tracker", "host": host, "port": port, "files": len(truth.facts) if truth else 0}]
            )
        else:
            console.note(f"evil tracker at {host}:{port} knows of {known_files}; Ctrl-C ends it")

    return await _tell_of_attacks(run, console)


Start = Callable[[trio.MemorySendChannel[Attacked], trio.Nursery], Awaitable[None]]


async def _tell_of_attacks(start: Start, console: Console) -> int:
    """Start attackers, and say what happens, until cancelled."""
    send, receive = trio.open_memory_channel[Attacked](float("inf"))
    with one_error():
        async with trio.open_nursery() as nursery:
            await start(send, nursery)
            async for event in receive:
                if console.json:
                    console.records([_attack_record(event)])
                else:
                    console.note(_attack_line(event))
    return DONE


def _attack_line(event: Attacked) -> str:
    name = escape(event.name) or "nothing"
    end = f"{event.ended} after {format_seconds(event.seconds)}, {format_size(event.sent)} sent"
    why = f" ({event.why})" if event.why else ""
    return f"{event.attack} against {event.host}, who asked for {name}: {end}{why}"


def _attack_record(event: Attacked) -> Record:
    record: Record = {"event": "attack", "attack": event.attack, "host": event.host, "name": os.fsdecode(event.name)}
    record |= {"sent": event.sent, "seconds": round(event.seconds, 3), "ended": event.ended, "why": event.why}
    return record | {"digest": event.digest}
