"""Crashes: a fetch that is killed again and again, at random moments, and what its successors make of what it left.

After each kill it is looked at what lies on the disk: under a final name only the right bytes, in a partial file the
right bytes of every chunk that its journal calls proved. The holders of the large files keep a ledger, so that it is
known whether any chunk that was proved in one life was fetched again in a later one.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from osp2p.content.chunks import chunk_bounds, chunk_count
from osp2p.content.digest import FileDigest, digest_file
from osp2p.content.journal import read_journal
from osp2p.content.name import journal_name, partial_name
from osp2p.lab.files import Pool
from osp2p.lab.holder import run_holder
from osp2p.lab.process import Program, kill_all, start_program, start_tracker
from osp2p.lab.table import KB, MB, File
from osp2p.lab.text import show
from osp2p.lab.witness import Chunk, Ledger, run_witness
from osp2p.lab.world import Tell
from osp2p.limits import DEFAULT
from osp2p.net.groups import one_error
from osp2p.wire.address import Address
from osp2p.wire.word import quote

#: What is fetched in each round: large files in chunks, small ones in one piece each, one from a holder of 2007.
CHUNKED = (File("large.bin", 8 * MB), File("wide/odd size.bin", 2 * MB + 1), File("wide/two chunks", 300 * KB))
SMALL = tuple(File(f"small/{number}.txt", 1 + number * 977) for number in range(60))
OF_2007 = (File("old.bin", 1 * MB), File("empty", 0))

_ALL = (*CHUNKED, *SMALL, *OF_2007)
_SIZES = {file.raw: file.size for file in _ALL}

#: Bytes per second of each of the two holders of chunks, and of the holder of 2007.
_RATE = 7.0 * MB
_OLD_RATE = 2.0 * MB

#: Of so many kills one falls anywhere, the start of the program included; the others fall while bytes come.
_ANYWHERE = 0.2
_STARTUP_SECONDS = 0.8
_FETCH_SECONDS = 0.7

#: A round that is not done after so many seconds has failed.
_ROUND_WITHIN = 120.0


@dataclass
class Crashes:
    """What a run of crashes gave.

    Attributes:
        kills: how many there were.
        rounds: how often everything arrived in the end.
        resumed: kills that left proved chunks behind.
        size: bytes of chunks that were needed, all rounds together.
        sent: bytes of chunks that holders sent, or began to.
        proved: bytes of chunks that were proved when a kill came, all kills together.
        faults: what must not be: wrong bytes, chunks that were fetched again, files that did not arrive.
    """

    kills: int = 0
    rounds: int = 0
    resumed: int = 0
    size: int = 0
    sent: int = 0
    proved: int = 0
    faults: list[str] = field(default_factory=list)


async def run_crashes(kills: int, seed: int, directory: Path, tell: Tell) -> Crashes:
    """Kill a fetch `kills` times, and let it arrive each time that it may.

    Args:
        seed: of the files' contents and of the moments.
        directory: an empty one, for everything.
        tell: takes what happens.

    Raises:
        WorldFailed, ProgramEnded, Osp2pError: the world around it does not work.
    """
    pool = Pool(directory / "pool", seed)
    rng = Random(f"{seed} kills")
    tracker, address = await start_tracker("tracker", directory)
    run = CrashRun(pool, directory, address, rng, tell)
    try:
        with one_error():
            async with trio.open_nursery() as nursery:
                await run.start_holders(nursery)
                while run.result.kills < kills:
                    await run.round(kills)
                nursery.cancel_scope.cancel()
    finally:
        await kill_all([tracker])
    return run.result


@dataclass(frozen=True)
class Left:
    """What a life left on the disk.

    Attributes:
        proved: the chunks that were, those of finished files among them.
        partial: of each file that is not finished, how many bytes are proved.
    """

    proved: frozenset[Chunk]
    partial: dict[bytes, int]


class CrashRun:
    """The world of one run.

    Attributes:
        ledger: of what the holders of chunks send.
        result: so far.
    """

    def __init__(self, pool: Pool, directory: Path, tracker: Address, rng: Random, tell: Tell) -> None:
        self._pool = pool
        self._directory = directory
        self._tracker = tracker
        self._rng = rng
        self._tell = tell
        self.ledger = Ledger()
        self._digests: dict[File, FileDigest] = {}
        self.result = Crashes()

    def hash_files(self) -> None:
        """Make the files that have content ids."""
        never = threading.Event()
        for file in (*CHUNKED, *SMALL):
            self._digests[file] = digest_file(self._pool.path(file), never)

    async def start_holders(self, nursery: trio.Nursery) -> None:
        """Start two holders of the chunked files, one of them of the small ones too, and one of 2007."""
        self.hash_files()
        for alias, files in ((b"anna", (*CHUNKED, *SMALL)), (b"ben", CHUNKED)):
            shared = {file.raw: (self._pool.path(file), self._digests[file]) for file in files}
            await nursery.start(run_witness, self._tracker, alias, shared, self.ledger, _RATE, DEFAULT)
        old = {file.raw: self._pool.read(file) for file in OF_2007}
        await nursery.start(run_holder, self._tracker, b"old", old, _OLD_RATE, DEFAULT)

    async def round(self, kills: int) -> None:
        """Fetch everything into a new directory, through as many lives as it takes."""
        self.result.rounds += 1
        target = self._directory / f"round{self.result.rounds}"
        target.mkdir()
        first_life = self.ledger.life + 1
        killed = 0
        left = Left(frozenset(), {})
        ended: Program | None = None
        with trio.fail_after(_ROUND_WITHIN):
            while ended is None:
                self.ledger.begin_life()
                program = await self._start(target)
                try:
                    ended = await self._let_live(program, may_be_killed=self.result.kills < kills)
                finally:
                    await kill_all([program])
                self.check_not_again(left)
                if ended is None:
                    killed += 1
                    self.result.kills += 1
                    left = self.look(target, finished=False)
                    self.result.resumed += bool(left.partial)
                    self.result.proved += sum(self._length(chunk) for chunk in left.proved)
        await self._check_end(ended, left, target)
        sent = [
            chunk for life in range(first_life, self.ledger.life + 1) for chunk in self.ledger.sent[life].elements()
        ]
        self.result.size += sum(file.size for file in (*CHUNKED, *SMALL))
        self.result.sent += sum(map(self._length, sent))
        self._tell(
            f"round {self.result.rounds}: killed {killed} times, {self.result.kills} in all; "
            f"{len(self.result.faults)} faults so far"
        )

    async def _start(self, target: Path) -> Program:
        names = [file.raw for file in _ALL]
        words: list[str | bytes] = ["get", "--json", "-t", str(self._tracker), "-o", f"{target}/", "--", *names]
        return await start_program(f"get{self.ledger.life}", words, self._directory)

    async def _let_live(self, program: Program, *, may_be_killed: bool) -> Program | None:
        """Wait for a random moment. Returns: the program, if it has ended by itself before."""
        if not may_be_killed:
            await program.wait()
            return program
        anywhere = self._rng.random() < _ANYWHERE
        seconds = self._rng.uniform(0, _STARTUP_SECONDS if anywhere else _FETCH_SECONDS)
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def wait_for_moment() -> None:
                    if not anywhere:
                        await self.ledger.begun.wait()
                    await trio.sleep(seconds)
                    scope.cancel()

                nursery.start_soon(wait_for_moment)
                await program.wait()
                nursery.cancel_scope.cancel()
        if program.runs:
            program.kill()
            await program.wait()
            return None
        return program

    def _length(self, chunk: Chunk) -> int:
        name, number = chunk
        return chunk_bounds(_SIZES[name], number)[1]

    # --- what must hold ---

    def _fault(self, text: str) -> None:
        self.result.faults.append(f"life {self.ledger.life}: {text}")
        self._tell(f"FAULT: {self.result.faults[-1]}")

    def check_not_again(self, left: Left) -> None:
        """No chunk that an earlier life had proved was sent to this one."""
        again = sorted(left.proved & self.ledger.sent[self.ledger.life].keys())
        if again:
            self._fault(f"{len(again)} proved chunks were fetched again: {again[:5]}")

    def look(self, target: Path, *, finished: bool) -> Left:
        """See whether what lies there is right."""
        proved: set[Chunk] = set()
        partial: dict[bytes, int] = {}
        expected: set[Path] = set()
        for file in _ALL:
            path = target / file.path
            expected.add(path)
            if path.exists():
                if not self._pool.is_same(path, file):
                    self._fault(f"{show(file.raw)} is not what it should be")
                if file in self._digests:
                    proved.update((file.raw, number) for number in range(chunk_count(file.size)))
            elif file in self._digests:
                chunks = self._look_at_partial(path, file)
                proved.update((file.raw, number) for number in chunks)
                if chunks:
                    partial[file.raw] = sum(chunk_bounds(file.size, number)[1] for number in chunks)
        found = {path for path in target.rglob("*") if path.is_file()}
        strange = sorted(str(path.relative_to(target)) for path in found - expected if finished or not _is_hidden(path))
        if strange:
            self._fault(f"there is more than was asked for: {strange[:5]}")
        return Left(frozenset(proved), partial)

    def _look_at_partial(self, path: Path, file: File) -> set[int]:
        """What the journal of a partial file calls proved. The bytes there must be right."""
        base = os.fsencode(path.name)
        part = path.parent / os.fsdecode(partial_name(base))
        state = read_journal(path.parent / os.fsdecode(journal_name(base)))
        if state is None or not part.exists() or state.header.inode != part.stat().st_ino:
            return set()
        right = self._pool.read(file)
        with part.open("rb") as there:
            for number in state.proved:
                offset, length = chunk_bounds(file.size, number)
                there.seek(offset)
                if there.read(length) != right[offset : offset + length]:
                    self._fault(f"the journal of {show(file.raw)} calls chunk {number} proved, and it is not right")
        return set(state.proved)

    async def _check_end(self, program: Program, left: Left, target: Path) -> None:
        """Everything has arrived, verified, and nothing was thrown away that had been proved."""
        code = await program.wait()
        if code:
            self._fault(f"a fetch that nobody killed ended with {code}: {program.last_words()}")
        self.look(target, finished=True)
        records = {record.get("wire"): record for record in program.records() if record.get("event") == "done"}
        for file in _ALL:
            record = records.get(quote(file.raw).decode())
            if record is None:
                self._fault(f"{show(file.raw)} did not arrive")
            elif file.raw in left.partial and record.get("resumed") != left.partial[file.raw]:
                self._fault(
                    f"of {show(file.raw)} {left.partial[file.raw]} bytes were there; {record.get('resumed')} counted"
                )


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")
