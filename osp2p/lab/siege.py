"""A siege: a swarm of honest peers that fetch from each other, first alone, then with every attack there is going on.

Everybody is a real process of its own. The members of the swarm fetch at a limited rate, so that the machine has
something left that the besiegers can use up: they run at the lowest priority.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import trio

from osp2p.content.digest import FileDigest, digest_file
from osp2p.evil import Bounds, SocketNetwork, find_attacks, run_attack
from osp2p.lab.asking import Asker
from osp2p.lab.files import Pool
from osp2p.lab.process import Program, kill_all, start_program
from osp2p.lab.table import KB, MB, File
from osp2p.lab.world import Tell
from osp2p.limits import MIB
from osp2p.net import TcpNetwork
from osp2p.net.groups import one_error
from osp2p.wire.address import Address
from osp2p.wire.word import quote

#: Kinds of besiegers, and how many attacks each of them runs at a time.
BESIEGERS = {"tracker": 5, "uploader": 6, "downloader": 8, "lured": 3}

#: What must hold at least of the rate without besiegers.
LEAST_RATE = 0.5

#: Most resident memory of an honest process, in bytes. A tracker's books may have 4,000,000 registrations of 300 bytes,
#: and an attack fills them.
MOST_MEMORY = {"tracker": 1536 * MIB, "member": 384 * MIB, "old": 256 * MIB}

#: How long the besieged have for getting rid of all that the besiegers left behind, in seconds.
_SETTLE_SECONDS = 90.0

_START_SECONDS = 60.0

#: How far an attack may go that is run again.
_AGAIN = Bounds(attack_seconds=60.0, connection_bytes=32 * MIB, total_bytes=256 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How large a siege is.

    Attributes:
        alone: seconds of fetching without besiegers.
        besieged: seconds of fetching with them.
        members: peers that share and fetch.
        files: how many there are; each is shared by two members, a tenth of them only by holders of 2007.
        rate: bytes per second at which one member fetches.
        attack: seconds after which an attack is ended, so that all have their turn.
    """

    alone: float
    besieged: float
    members: int = 8
    files: int = 200
    rate: float = 4.0 * MB
    attack: float = 15.0


@dataclass
class Phase:
    """What the swarm fetched in some time.

    Attributes:
        rounds, files, bytes: how much arrived, verified.
        received: bytes that came for it over the network, useless ones included.
        blamed: why sources were left, and how often.
        rate: bytes per second of all members together.
        latencies: milliseconds of an honest client's commands to the tracker, sorted.
        processor: seconds of processor time, of the besieged and of the besiegers.
        seconds: from the beginning to the end.
        stalls: for each process, the longest that a task waited for its turn, in seconds.
    """

    rounds: int = 0
    files: int = 0
    bytes: int = 0
    received: int = 0
    blamed: Counter[str] = field(default_factory=Counter)
    rate: float = 0.0
    latencies: list[float] = field(default_factory=list)
    processor: tuple[float, float] = (0.0, 0.0)
    seconds: float = 0.0
    stalls: dict[str, float] = field(default_factory=dict)


@dataclass
class Siege:
    """What a siege gave.

    Attributes:
        attacks: how often each attack was run, by id.
        kinds: how many different ones there are in the catalogue.
        sent: bytes that attackers sent.
        suspected: what starved attackers found wrong with their victims, by id; each was run again, alone.
        peaks: the most resident memory of each process, in bytes.
        held: descriptors and tasks of each process before and after.
        faults: what must not be.
    """

    alone: Phase = field(default_factory=Phase)
    besieged: Phase = field(default_factory=Phase)
    attacks: Counter[str] = field(default_factory=Counter)
    kinds: int = 0
    sent: int = 0
    suspected: dict[str, str] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    held: dict[str, tuple[dict[str, int], dict[str, int]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


async def run_siege(plan: Plan, seed: int, directory: Path, tell: Tell) -> Siege:
    """Run a siege.

    Args:
        seed: of the files and the attacks.
        directory: an empty one, for everything.
        tell: takes what happens.

    Raises:
        ProgramEnded: somebody has ended who should not.
        Osp2pError: the world around it does not work.

    Cancellation: every process is killed.
    """
    run = SiegeRun(plan, seed, directory, tell)
    with one_error():
        await _besiege(run, plan, tell)
    run.judge()
    return run.result


async def _besiege(run: SiegeRun, plan: Plan, tell: Tell) -> None:
    try:
        await run.start_besieged()
        await run.fetch(1, Phase())  # threads, caches and connections are there afterwards
        before = await run.count()
        tell(f"{plan.members} members fetch from each other")
        await run.fetch(plan.alone, run.result.alone)
        await run.count(run.result.alone)
        tell(f"alone: {_show_phase(run.result.alone)}")
        await run.start_besiegers()
        await run.fetch(plan.besieged, run.result.besieged)
        await run.count(run.result.besieged)
        tell(f"besieged: {_show_phase(run.result.besieged)}")
        await run.end_besiegers()
        await run.attack_again()
        await run.settle(before)
        await run.end_besieged()
    finally:
        await kill_all(run.programs)


def _show_phase(phase: Phase) -> str:
    return f"{phase.rounds} rounds, {phase.files} files, {phase.rate / 1e6:.1f} MB/s"


def make_files(count: int, seed: int) -> list[File]:
    """Files as people have them: most of them small, some large, names with blanks and umlauts among them."""
    rng = Random(f"{seed} sizes")
    files = []
    for number in range(count):
        if number % 20 == 19:
            size = rng.randrange(4 * MB, 6 * MB)
        elif number % 3 == 2:
            size = rng.randrange(260 * KB, 1 * MB)
        else:
            size = rng.randrange(1, 200 * KB)
        files.append(File(f"d{number % 7}/größe {number}.bin", size))
    return files


class SiegeRun:
    """The world of one siege."""

    def __init__(self, plan: Plan, seed: int, directory: Path, tell: Tell) -> None:
        self._plan = plan
        self._seed = seed
        self._directory = directory
        self._tell = tell
        self._pool = Pool(directory / "pool", seed)
        self._files = make_files(plan.files, seed)
        self._old = self._files[::10]
        self._shared = [file for file in self._files if file not in self._old]
        self._digests: dict[File, FileDigest] = {}
        self._besieged: dict[str, Program] = {}
        self._besiegers: dict[str, Program] = {}
        self._ports: dict[str, int] = {}
        self._counted = 0
        self._rested = 0
        self._tracker = Address("127.0.0.1", 1)
        self.result = Siege()

    @property
    def programs(self) -> list[Program]:
        """Everybody."""
        return [*self._besieged.values(), *self._besiegers.values()]

    # --- the besieged ---

    def _paths(self, files: Sequence[File]) -> dict[str, str]:
        return {quote(file.raw).decode(): str(self._pool.path(file)) for file in files}

    def own(self, number: int) -> list[File]:
        """What a member shares: every file has two who do."""
        members = self._plan.members
        return [file for at, file in enumerate(self._shared) if number in (at % members, (at + 1) % members)]

    @staticmethod
    def _address(number: int) -> str:
        return f"127.0.1.{1 + number}"

    async def start_besieged(self) -> None:
        """Start the tracker, the holders of 2007 and the members, and wait until all is registered."""
        for file in self._shared:
            self._digests[file] = digest_file(self._pool.path(file), threading.Event())
        await self._start("tracker", {"role": "tracker", "port": 0})
        self._tracker = Address("127.0.0.1", self._ports["tracker"])
        for who in ("old1", "old2"):
            plan = {"role": "old", "alias": who, "tracker": str(self._tracker), "files": self._paths(self._old)}
            await self._start(who, plan)
        async with trio.open_nursery() as nursery:
            for number in range(self._plan.members):
                nursery.start_soon(self._start_member, number)
        with trio.fail_after(_START_SECONDS):
            await Asker(TcpNetwork(), self._tracker).wait_until_known(
                {file.raw: 2 for file in self._files}, with_b3={file.raw for file in self._shared}
            )

    async def _start_member(self, number: int) -> None:
        who = f"member{number + 1}"
        own = self.own(number)
        self._pool.lay_out(self._directory / who / "shared", own)
        plan = {
            "role": "member",
            "alias": who,
            "address": self._address(number),
            "port": 0,
            "tracker": str(self._tracker),
            "shared": str(self._directory / who / "shared"),
            "target": str(self._directory / who / "fetched"),
            "cache": str(self._directory / who / "digests.sqlite"),
            "wanted": self._paths([file for file in self._files if file not in own]),
            "rate": self._plan.rate,
        }
        await self._start(who, plan)

    async def _start(self, who: str, plan: dict[str, Any]) -> None:
        argument = json.dumps({**plan, "seed": self._seed})
        program = await start_program(who, [argument], self._directory, "osp2p.lab.besieged", orders=True)
        self._besieged[who] = program
        with trio.fail_after(_START_SECONDS):
            (ready,) = await program.wait_for("ready")
        self._ports[who] = int(str(ready["port"]))

    async def fetch(self, seconds: float, phase: Phase) -> None:
        """Let all members fetch for some time, and add up what they got."""
        members = {who: program for who, program in self._besieged.items() if who.startswith("member")}
        seen = {who: len(_records(program, "round")) for who, program in members.items()}
        used = self._processor_seconds()
        self._rested += 1
        begun = trio.current_time()
        asker = Asker(TcpNetwork(), self._tracker)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asker.ask_again_and_again, [file.raw for file in self._files], phase.latencies)
            for program in members.values():
                await program.tell(do="fetch", seconds=seconds)
            for program in members.values():
                await program.wait_for("rested", self._rested)
            nursery.cancel_scope.cancel()
        phase.seconds = trio.current_time() - begun
        now = self._processor_seconds()
        phase.processor = (now[0] - used[0], now[1] - used[1])
        phase.latencies.sort()
        for who, program in members.items():
            self.add_rounds(who, _records(program, "round")[seen[who] :], phase)

    def add_rounds(self, who: str, rounds: Sequence[dict[str, Any]], phase: Phase) -> None:
        for one in rounds:
            phase.rounds += 1
            phase.files += one["files"]
            phase.bytes += one["bytes"]
            phase.received += one["fetched"]
            phase.blamed.update(one["blamed"])
            self.result.faults += [f"{who}, round {one['number']}: {wrong}" for wrong in one["wrong"]]
            self.result.faults += [
                f"{who}, round {one['number']}: {name} failed: {kind}: {text}" for name, kind, text in one["failed"]
            ]
        seconds = sum(one["seconds"] for one in rounds)
        phase.rate += sum(one["bytes"] for one in rounds) / seconds if seconds else 0.0

    async def count(self, phase: Phase | None = None) -> dict[str, dict[str, int]]:
        """What each of the besieged holds now.

        Args:
            phase: gets how long each was busy at most, since the last time, before a task had its turn.
        """
        self._counted += 1
        found = {}
        for who, program in self._besieged.items():
            await program.tell(do="count")
            last = (await program.wait_for("counts", self._counted))[-1]
            found[who] = {key: int(str(last[key])) for key in ("descriptors", "tasks")}
            if phase is not None:
                phase.stalls[who] = float(str(last["stall"]))
        return found

    async def settle(self, before: dict[str, dict[str, int]]) -> None:
        """Wait until everybody holds what they held before, and no more."""
        until = trio.current_time() + _SETTLE_SECONDS
        while True:
            after = await self.count()
            more = [who for who in before if any(after[who][key] > before[who][key] for key in before[who])]
            if not more or trio.current_time() > until:
                break
            await trio.sleep(1)
        self.result.held = {who: (before[who], after[who]) for who in before}
        for who in more:
            self.result.faults.append(f"{who} held {before[who]} before, and holds {after[who]} afterwards")

    async def end_besieged(self) -> None:
        """Note what they used, and let them end: well."""
        for who, program in self._besieged.items():
            self.result.peaks[who] = _peak(program.pid)
            self.note_losses(who, program.records())
        for who, program in reversed(self._besieged.items()):  # the tracker last: whom it leaves has lost it
            await program.dismiss()
            with trio.move_on_after(20):
                await program.wait()
            if program.runs or await program.wait():
                self.result.faults.append(f"{who} did not end well")
            if any("Traceback" in line or "fault of this program" in line for line in program.all_words()):
                self.result.faults.append(f"{who} met a fault of its own: {program.last_words()[-3:]}")
        for path in self._directory.rglob("*osp2p-*"):
            if "lured" not in str(path):
                self.result.faults.append(f"a temporary file is left: {path.relative_to(self._directory)}")

    def note_losses(self, who: str, records: Sequence[dict[str, Any]]) -> None:
        """See whether somebody lost the tracker, or could not go on sharing something."""
        for record in records:
            if record.get("event") == "lost":
                self.result.faults.append(f"{who} lost its tracker: {record['why']}")
            elif record.get("event") == "withdrawn":
                self.result.faults.append(f"{who} could not go on sharing {record['name']}: {record['why']}")

    # --- the besiegers ---

    async def start_besiegers(self) -> None:
        """Start all kinds, and wait until they are at work."""
        members = [
            [
                self._address(number),
                self._ports[f"member{number + 1}"],
                [quote(f.raw).decode() for f in self.own(number)],
            ]
            for number in range(self._plan.members)
        ]
        for kind, workers in BESIEGERS.items():
            (self._directory / f"besieger-{kind}").mkdir()
            plan = {
                "against": kind,
                "workers": workers,
                "tracker": [self._tracker.host, self._tracker.port],
                "members": members,
                "files": self._paths(self._files),
                "links": {quote(file.raw).decode(): self._digests[file].digests.b3.hex() for file in self._shared},
                "directory": str(self._directory / f"besieger-{kind}"),
                "seconds": self._plan.attack,
                "seed": self._seed,
            }
            self._besiegers[kind] = await start_program(
                f"besieger-{kind}", [json.dumps(plan)], self._directory, "osp2p.lab.besiegers", orders=True
            )
        for program in self._besiegers.values():
            with trio.fail_after(_START_SECONDS):
                (ready,) = await program.wait_for("ready")
            self.result.kinds += int(str(ready["attacks"]))
        self._tell(f"besieged by {len(self._besiegers)} processes with {self.result.kinds} attacks")

    async def end_besiegers(self) -> None:
        """End them, and take down what they did."""
        for kind, program in self._besiegers.items():
            if not program.runs:
                self.result.faults.append(f"the besiegers of the {kind} have ended early: {program.last_words()}")
            self.result.peaks[f"(attackers: {kind})"] = _peak(program.pid)
            for one in _records(program, "attack"):
                self.result.attacks[one["id"]] += 1
                self.result.sent += one.get("sent", 0)
                if not one.get("passed", True):
                    self.result.suspected[one["id"]] = one["why"]
        await kill_all(self._besiegers.values())

    async def attack_again(self) -> None:
        """Run the attacks that seem to have succeeded once more, alone and as nice as others.

        A besieger has so little of the processor that it may see a connection closed long after it was.
        """
        for attack in find_attacks(list(self.result.suspected)) if self.result.suspected else ():
            if attack.role == "tracker":
                self.result.faults.append(f"{attack.id}: {self.result.suspected[attack.id]}")
                continue
            self._tell(f"once more: {attack.id}: {self.result.suspected[attack.id]}")
            address = (self._tracker.host, self._tracker.port)
            if attack.against == "uploader":
                address = (self._address(0), self._ports["member1"])
            verdict = await run_attack(
                attack, SocketNetwork(), address, seed=self._seed, name=self.own(0)[0].raw, bounds=_AGAIN
            )
            if not verdict.passed:
                self.result.faults.append(f"{attack.id}: {verdict.why}")

    def _processor_seconds(self) -> tuple[float, float]:
        return (
            sum(_processor_seconds(program.pid) for program in self._besieged.values() if program.runs),
            sum(_processor_seconds(program.pid) for program in self._besiegers.values() if program.runs),
        )

    # --- the end ---

    def judge(self) -> None:
        """Hold the whole against what must be."""
        result = self.result
        if result.besieged.rate < LEAST_RATE * result.alone.rate:
            result.faults.append(f"the rate fell to {result.besieged.rate / max(result.alone.rate, 1):.0%}")
        for who, peak in result.peaks.items():
            most = MOST_MEMORY.get(who.rstrip("0123456789"))
            if most is not None and peak > most:
                result.faults.append(f"{who} took {peak / 1e6:.0f} MB of memory")


def _records(program: Program, event: str) -> list[dict[str, Any]]:
    return [record for record in program.records() if record.get("event") == event]


def _peak(pid: int) -> int:
    """The most resident memory that a process has had, in bytes; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except FileNotFoundError:
        return 0
    return 0


def _processor_seconds(pid: int) -> float:
    """The processor time that a process and those that it has waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
