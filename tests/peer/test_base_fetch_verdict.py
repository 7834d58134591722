"""Which error stands for all, where the holders of a file failed in different ways."""

from __future__ import annotations

import random
from itertools import permutations

import pytest
from trio.testing import MockClock

from osp2p.content.store import Target
from osp2p.errors import (
    ChecksumMismatch,
    ConnectFailed,
    ConnectionLost,
    DiskFull,
    NobodyHasIt,
    Osp2pError,
    SourceRefused,
    Stalled,
    TimedOut,
    TooLarge,
)
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork
from osp2p.peer.base_fetch import BaseFetch
from osp2p.peer.tracker_facts import TrackerFacts
from tests.peer.holders import (
    CONTENT,
    NAME,
    Script,
    World,
    gives,
    refuses,
    resets,
    silent,
)

LIMITS = Limits()


#: Who can fail in which way, and the errors by falling weight.
FAILURES: list[tuple[Osp2pError, type[Osp2pError]]] = [
    (DiskFull("x"), DiskFull),
    (Stalled("x"), Stalled),
    (TimedOut("x"), Stalled),
    (ConnectionLost("x"), Stalled),
    (ChecksumMismatch("x"), ChecksumMismatch),
    (TooLarge("x"), TooLarge),
    (SourceRefused("x"), NobodyHasIt),
    (ConnectFailed("x"), ConnectFailed),
]


@pytest.mark.parametrize("heavier", range(len(FAILURES)))
def test_one_error_stands_for_every_combination(heavier: int) -> None:
    fetch = BaseFetch(
        NAME,
        TrackerFacts(()),
        network=MemoryNetwork(),
        limits=LIMITS,
        rng=random.Random(1),
        new_part=lambda: pytest.fail("no part is needed"),
        refresh=lambda: pytest.fail("nobody asks"),
        report=lambda event: None,
    )
    assert type(fetch._verdict()) is NobodyHasIt
    for lighter in range(heavier, len(FAILURES)):
        for failures in permutations([FAILURES[heavier][0], FAILURES[lighter][0], FAILURES[-1][0]]):
            fetch._failures = list(failures)
            assert type(fetch._verdict()) is FAILURES[heavier][1]


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ([], NobodyHasIt),
        ([None, None], ConnectFailed),
        ([refuses, None], NobodyHasIt),
        ([gives(b"wrong"), gives(CONTENT[:5])], ChecksumMismatch),
        ([gives(b"wrong"), None, refuses], ChecksumMismatch),
        ([gives(b"wrong"), silent], Stalled),
        ([resets(b"")], NobodyHasIt),
        ([resets(b"wrong"), refuses, None], Stalled),
    ],
)
async def test_one_error_stands_for_all(
    autojump_clock: MockClock,
    world: World,
    target: Target,
    scripts: list[Script | None],
    expected: type[Osp2pError],
) -> None:
    for script in scripts:
        await world.add(script)
    with pytest.raises(expected) as caught:
        await world.fetch(target).run()
    assert type(caught.value) is expected
    assert world.left_behind() == []
