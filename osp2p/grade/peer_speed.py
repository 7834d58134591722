"""How fast a peer serves. The bounds are far from what a sound one needs, so that a busy machine fails nobody."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import trio

from osp2p.grade.stage import Stage, one_wrong
from osp2p.grade.steps import Scene, check_body
from osp2p.grade.verdict import Check, Wrong

#: Downloads one after the other: how many, and how long the middle one's first byte may take.
_ASKED = 20
_FIRST_BYTE = 0.25

#: Least bytes a second, of files of so many bytes and more; below it only the first byte counts.
_RATE = 5e6
_RATE_FROM = 1_000_000

#: Downloads at a time, and how long each may take beside what the rate allows.
_TOGETHER = 20
_TOGETHER_WITHIN = 5.0


async def _fetch(stage: Stage) -> tuple[float, float]:
    """Returns: the seconds until the first byte, and until the end."""
    content = stage.specimen.content
    begun = trio.current_time()
    talk = await stage.open()
    await talk.send(stage.fill("GET {file} OSP2P\n").encode("latin-1"))
    first = await talk.read(min(1, len(content)))
    first_at = trio.current_time() - begun
    check_body(first + await talk.rest(len(content)), content, "the file")
    talk.connection.close()
    return first_at, trio.current_time() - begun


async def _in_turn(stage: Stage) -> Mapping[str, str]:
    times = [await _fetch(stage) for _ in range(_ASKED)]
    size = len(stage.specimen.content)
    first = statistics.median(one[0] for one in times)
    whole = statistics.median(one[1] for one in times)
    if first > _FIRST_BYTE:
        raise Wrong(f"the first byte comes after {first:.2f} s, later than {_FIRST_BYTE:g} s")
    if size >= _RATE_FROM and size / whole < _RATE:
        raise Wrong(f"it sends {size / whole / 1e6:.1f} MB/s, less than {_RATE / 1e6:g} MB/s")
    return {"first byte": f"{1000 * first:.1f} ms", "rate": f"{size / max(whole, 1e-6) / 1e6:.1f} MB/s"}


async def _together(stage: Stage) -> Mapping[str, str]:
    begun = trio.current_time()
    with one_wrong():
        async with trio.open_nursery() as nursery:
            for _ in range(_TOGETHER):
                nursery.start_soon(_fetch, stage)
    seconds = trio.current_time() - begun
    size = _TOGETHER * len(stage.specimen.content)
    if seconds > _TOGETHER_WITHIN + size / _RATE:
        raise Wrong(f"{_TOGETHER} downloads at a time take {seconds:.1f} s")
    return {"all": f"{1000 * seconds:.0f} ms", "rate": f"{size / max(seconds, 1e-6) / 1e6:.1f} MB/s"}


PEER_SPEED: tuple[Scene, ...] = (
    Scene(
        Check("speed/in-turn", "speed", "A download begins at once, and is not slow."),
        _in_turn,
    ),
    Scene(Check("speed/together", "speed", f"{_TOGETHER} downloads at a time are through soon."), _together),
)
