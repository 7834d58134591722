"""Changes: whatever happens between two visits of the consumer, what it knows afterwards is what there is."""

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from osp2p.content.digest import Digests, FileState
from osp2p.peer.changes import Changes, Digested, LibraryChange, Offered, Removed
from osp2p.peer.shared import SharedFile

DIGESTS = Digests(bytes(16), bytes(32))


def file(name: bytes, size: int = 0) -> SharedFile:
    return SharedFile(name, b"/" + name, b"/", FileState(size, 0, 0))


class Consumer:
    """Believes what it is told, and nothing that it is not."""

    def __init__(self) -> None:
        self.files: dict[bytes, SharedFile] = {}

    def learn(self, changes: list[LibraryChange]) -> None:
        names = [change.name for change in changes]
        assert len(set(names)) == len(names), "one change for each name"
        for change in changes:
            match change:
                case Offered(offered, changed):
                    assert changed == (offered.name in self.files)
                    self.files[offered.name] = offered
                case Digested(digested):
                    assert self.files[digested.name].state == digested.state
                    self.files[digested.name] = digested
                case Removed(name):
                    del self.files[name]


@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.sampled_from("odrt"), st.integers(0, 2)), max_size=40))
def test_a_consumer_knows_what_there_is_whenever_it_comes(steps: list[tuple[bytes, str, int]]) -> None:
    async def run() -> None:
        changes = Changes()
        consumer = Consumer()
        real: dict[bytes, SharedFile] = {}
        for name, step, size in steps:
            if step == "o":
                changes.put([Offered(file(name, size), changed=name in real)])
                real[name] = file(name, size)
            elif step == "d" and name in real:
                real[name] = real[name]._replace(digests=DIGESTS)
                changes.put([Digested(real[name])])
            elif step == "r" and name in real:
                del real[name]
                changes.put([Removed(name)])
            elif step == "t":
                with trio.move_on_after(0.001):
                    consumer.learn(await changes.take())
                assert consumer.files == real
        with trio.move_on_after(0.001):
            consumer.learn(await changes.take())
        assert consumer.files == real

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_consumer_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    changes = Changes()

    async def later() -> None:
        await trio.sleep(1)
        changes.put([Offered(file(b"a"))])
        changes.put([Digested(file(b"a")._replace(digests=DIGESTS))])
        changes.put([Offered(file(b"b")), Removed(b"b")])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert await changes.take() == [Offered(file(b"a")._replace(digests=DIGESTS))]
    with trio.move_on_after(1) as scope:
        await changes.take()
    assert scope.cancelled_caught
