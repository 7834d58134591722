"""How fast a tracker answers. The bounds are far from what a sound one needs, so that a busy machine fails nobody."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import trio

from osp2p.grade.stage import Stage, one_wrong
from osp2p.grade.steps import Play, Scene
from osp2p.grade.verdict import Check, Wrong

#: One command in flight: how many, and how long the middle one and all but the slowest hundredth may take.
_ASKED = 500
_MEDIAN = 0.02
_SLOW = 0.2

#: Commands that are sent ahead of their answers, and how long all of them may take.
_AHEAD = 1000
_AHEAD_WITHIN = 5.0

#: Clients at a time, each of which logs in, registers a file and looks for it, and how long all of them may take.
_CLIENTS = 60
_CLIENTS_WITHIN = 5.0

#: Clients one after the other.
_VISITS = 100
_VISITS_WITHIN = 5.0


async def _one_in_flight(stage: Stage) -> Mapping[str, str]:
    talk = await stage.on("a")
    times = []
    for _ in range(_ASKED):
        begun = trio.current_time()
        await stage.ask("WANT {file}", talk)
        times.append(trio.current_time() - begun)
    times.sort()
    median, slow = statistics.median(times), times[len(times) * 99 // 100]
    if median > _MEDIAN or slow > _SLOW:
        raise Wrong(
            f"an answer takes {1000 * median:.1f} ms, one in a hundred {1000 * slow:.1f} ms; "
            f"{1000 * _MEDIAN:g} and {1000 * _SLOW:g} ms are allowed"
        )
    return {"median": f"{1000 * median:.2f} ms", "p99": f"{1000 * slow:.2f} ms", "answers/s": f"{1 / median:.0f}"}


async def _ahead(stage: Stage) -> Mapping[str, str]:
    talk = await stage.on("a")
    line = stage.fill("MD5SUM {file}\n").encode()
    begun = trio.current_time()
    with one_wrong():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.send, line * _AHEAD)
            for number in range(_AHEAD):
                await talk.reply(f"command {number + 1} of {_AHEAD} that were sent ahead")
                if trio.current_time() - begun > _AHEAD_WITHIN:
                    raise Wrong(f"{_AHEAD} commands sent ahead take more than {_AHEAD_WITHIN:g} s")
    return {"answers/s": f"{_AHEAD / (trio.current_time() - begun):.0f}"}


async def _many(stage: Stage) -> Mapping[str, str]:
    begun = trio.current_time()
    slowest = 0.0

    async def visit(number: int) -> None:
        nonlocal slowest
        own = trio.current_time()
        talk = await stage.greeted()
        name = stage.fill(f"{number}-{{file}}")
        for line in (f"ADDR {{a}}{number} {{host}}:{4001 + number}", f"HAVE {name}", f"WANT {name}"):
            reply = await stage.ask(line, talk)
            if not reply.ok:
                raise Wrong(f"with {_CLIENTS} clients at a time, {line.split()[0]} is answered {reply.code}")
        slowest = max(slowest, trio.current_time() - own)

    with one_wrong():
        async with trio.open_nursery() as nursery:
            for number in range(_CLIENTS):
                nursery.start_soon(visit, number)
    seconds = trio.current_time() - begun
    if seconds > _CLIENTS_WITHIN:
        raise Wrong(f"{_CLIENTS} clients at a time take {seconds:.1f} s, more than {_CLIENTS_WITHIN:g} s")
    return {"slowest of 60": f"{1000 * slowest:.0f} ms"}


async def _visits(stage: Stage) -> Mapping[str, str]:
    begun = trio.current_time()
    for _ in range(_VISITS):
        talk = await stage.greeted()
        await stage.ask("QUIT", talk)
        talk.connection.close()
    seconds = trio.current_time() - begun
    if seconds > _VISITS_WITHIN:
        raise Wrong(f"{_VISITS} clients one after the other take {seconds:.1f} s, more than {_VISITS_WITHIN:g} s")
    return {"visits/s": f"{_VISITS / seconds:.0f}"}


def _scene(name: str, title: str, play: Play) -> Scene:
    return Scene(Check(f"speed/{name}", "speed", title), play)


TRACKER_SPEED: tuple[Scene, ...] = (
    _scene("latency", f"{_ASKED} commands, each after the answer to the one before, take their time and no more.",
           _one_in_flight),
    _scene("pipelined", f"{_AHEAD} commands that are sent ahead are answered within {_AHEAD_WITHIN:g} s.", _ahead),
    _scene("clients", f"{_CLIENTS} clients at a time register and ask within {_CLIENTS_WITHIN:g} s.", _many),
    _scene("visits", f"{_VISITS} clients come and go within {_VISITS_WITHIN:g} s.", _visits),
)  # fmt: skip
