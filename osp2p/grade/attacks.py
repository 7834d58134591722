"""Runs the catalogue of attacks against a tracker or a peer, side by side where that disturbs no verdict.

An attack is started, and given a moment alone; then an honest user has a look, and the next one is started beside it.
Those come first that wait most of the time, so that many of them take hardly longer than one. A failure counts only if
the attack fails alone, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from osp2p.evil import LOOPBACK, Attack, Bounds, Exchange, SocketNetwork, Subnet, Verdict, list_attacks, run_attack
from osp2p.grade.keeper import GONE, Keeper, exchange, have_back
from osp2p.grade.recording import Recorder
from osp2p.grade.scenes import Report
from osp2p.grade.stage import EVIDENCE, Subject
from osp2p.grade.transcript import Entry, Scribe
from osp2p.grade.verdict import Check, Judged, Kind, Wrong
from osp2p.grade.witness import WitnessedNetwork

#: How many attacks go on at a time.
_TOGETHER = 12

#: How often they are begun side by side, before they are run one by one against a program that bears none of them.
_ROUNDS = 3

#: How long an attack has the stage for itself.
_ALONE = 0.3

#: How often an honest user looks on while an attack goes on, and how long he may have to wait.
_LOOK_EVERY = 1.0
_SERVED_WITHIN = 2.0

#: In what part of an attack's time an honest user must be answered.
_SHARE_OF_PATIENCE = 0.7

#: How long an attack goes on after the program has died: how it took its death is evidence.
_LAST_WORDS = 0.2

#: Where attacks on this machine come from: not from where honest users do.
_SOURCES = ("127.66.66.66", "127.66.66.67", "127.66.66.68", "127.66.66.69")

#: The least that a machine of a class must spare.
_MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Siege:
    """One attack as a check.

    Attributes:
        check: what is asked.
        attack: what is done.
    """

    check: Check
    attack: Attack


def sieges(kind: Kind) -> list[Siege]:
    """Every attack against a kind of server, as checks."""
    against = list_attacks("tracker" if kind == "tracker" else "uploader")
    return [Siege(Check(f"attack/{attack.id}", "robustness", attack.text), attack) for attack in against]


@dataclass(frozen=True, slots=True, kw_only=True)
class Force:
    """With what means attacks are made.

    Attributes:
        patience: seconds that one attack goes on at most; None: as long as a sound program may need to end it.
        allowed: the only networks whose hosts are attacked.
    """

    patience: float | None = 5.0
    allowed: Sequence[Subnet] = LOOPBACK


class Sieges:
    """Runs sieges against one program.

    Args:
        keeper: has the program back when it died.
        report: told of each verdict.
    """

    def __init__(self, subject: Subject, keeper: Keeper, force: Force, report: Report) -> None:
        self._subject = subject
        self._keeper = keeper
        self._force = force
        within = subject.answer_within if force.patience is None else _SHARE_OF_PATIENCE * force.patience
        #: Whom an honest user sees: he loses patience before an attack is over, after which all is well again.
        self._seen = replace(subject, answer_within=min(subject.answer_within, within))
        self._report = report
        self._judged: dict[Siege, Judged] = {}

    async def run(self, all_sieges: Sequence[Siege]) -> list[Judged]:
        """Run all of them. Returns: what came of each, in the same order."""
        if not all_sieges:
            return []
        waiting = sorted(all_sieges, key=lambda one: one.attack.expect != "out-waited")
        alive = True
        last = waiting[0]
        for _ in range(_ROUNDS):
            if alive and len(waiting) > 1:
                last, doubtful, broken = await self._side_by_side(waiting)
                waiting = [one for one in waiting if one not in self._judged]
                if broken:
                    alive = await self._alone(doubtful, last)
                    waiting = [one for one in waiting if one not in doubtful]
        if alive:
            await self._alone(waiting, last)
        for one in all_sieges:
            if one not in self._judged:
                self._tell(one, Judged(one.check, "not run", GONE))
        return [self._judged[one] for one in all_sieges]

    async def _side_by_side(self, waiting: Sequence[Siege]) -> tuple[Siege, list[Siege], bool]:
        """Start one after the other, until all have ended or an honest user has a complaint of his own.

        Returns: the last one that was started; those that failed; and whether there was a complaint, so that the last
            one is to blame, and what went on beside it must begin again.
        """
        doubtful: dict[Siege, None] = {}
        places = trio.Semaphore(_TOGETHER)
        last = waiting[0]

        async def try_one(one: Siege, ended: trio.Event) -> None:
            judged = await self._besiege(one, alone=False)
            if judged.outcome == "passed":
                passed[one] = judged
            else:
                doubtful[one] = None
            ended.set()
            places.release()

        broken = False
        passed: dict[Siege, Judged] = {}
        async with trio.open_nursery() as nursery:
            for one in waiting:
                await places.acquire()
                last, ended = one, trio.Event()
                nursery.start_soon(try_one, one, ended)
                with trio.move_on_after(_ALONE):
                    await ended.wait()
                if broken := await self._is_useless():
                    doubtful[one] = None
                    passed.pop(one, None)
                    nursery.cancel_scope.cancel()
                    break
                self._tell_all(passed)
        self._tell_all(passed)
        return last, list(doubtful), broken

    async def _is_useless(self) -> bool:
        try:
            await exchange(self._seen, registering=False)
        except Wrong:
            return True
        return False

    async def _alone(self, doubtful: Sequence[Siege], last: Siege) -> bool:
        """Try attacks one by one. Returns: False if the program is gone for good.

        Args:
            last: the one that was started last: if the program is gone, it is the one to blame.
        """
        if not doubtful:
            return True
        if await self._is_useless():
            death = await self._keeper.obituary()
            if not await have_back(self._keeper, self._subject):
                reason = f"under the attack, it dies: nobody listens any more{'; ' if death else ''}{death}"
                self._tell(last, Judged(last.check, "failed", reason))
                return False
        for one in doubtful:
            judged = await self._besiege(one, alone=True)
            if judged.outcome == "failed" and (death := await self._keeper.obituary()):
                judged = replace(judged, reason=f"{judged.reason}: {death}")
            self._tell(one, judged)
            if (
                judged.outcome == "failed"
                and await self._is_useless()
                and not await have_back(self._keeper, self._subject)
            ):
                return False
        return True

    def _tell_all(self, passed: dict[Siege, Judged]) -> None:
        """Tell what has passed, and forget it."""
        while passed:
            self._tell(*passed.popitem())

    def _tell(self, one: Siege, judged: Judged) -> None:
        self._judged[one] = judged
        self._report(judged)

    async def _besiege(self, one: Siege, *, alone: bool) -> Judged:
        """Make one attack. A program that was started here and dies is not waited for."""
        found: list[Judged] = []
        entries: deque[Entry] = deque(maxlen=EVIDENCE)
        recorder = Recorder(entries.append)
        begun = trio.current_time()

        async def make() -> None:
            found.append(await self._attack(one, recorder))
            nursery.cancel_scope.cancel()

        async def look_on() -> None:
            await trio.sleep(_ALONE)
            while True:
                if reason := await self._complaint(alone):
                    if await self._keeper.obituary():
                        reason = "it dies"
                    found.append(Judged(one.check, "failed", f"under the attack, {reason}"))
                    nursery.cancel_scope.cancel()
                await trio.sleep(_LOOK_EVERY)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(make)
            if not one.attack.exhausts:
                nursery.start_soon(look_on)
            await self._keeper.wait_death()
            await trio.sleep(_LAST_WORDS)
            nursery.cancel_scope.cancel()
        judged = found[0] if found else Judged(one.check, "failed", "under the attack, it dies")
        return replace(judged, evidence=tuple(entries), seconds=trio.current_time() - begun)

    async def _complaint(self, alone: bool) -> str:
        """Be an honest user. Returns: what is wrong with how one is served; "" if nothing is.

        Args:
            alone: whether one attack goes on, and not many, so that whoever is served late has a complaint, too.
        """
        begun = trio.current_time()
        try:
            await exchange(self._seen, registering=False)
        except Wrong as wrong:
            return f"an honest user is not served: {wrong}"
        seconds = trio.current_time() - begun
        return f"an honest user is served after {seconds:.1f} s" if alone and seconds > _SERVED_WITHIN else ""

    async def _attack(self, one: Siege, recorder: Recorder) -> Judged:
        subject = self._subject
        verdict = await run_attack(
            one.attack,
            [WitnessedNetwork(SocketNetwork(source), recorder) for source in _SOURCES],
            (subject.host, subject.port),
            seed=subject.seed,
            name=subject.specimen.name if subject.specimen is not None else b"",
            forbidden=subject.forbidden,
            bounds=Bounds(attack_seconds=self._force.patience, connection_bytes=_MOST_BYTES),
            allowed=self._force.allowed,
            honest=SocketNetwork(source=None, receive_buffer=None),
        )
        return judged_of(one.check, verdict)


def judged_of(check: Check, verdict: Verdict) -> Judged:
    """What a verdict on an attack comes to."""
    figures: dict[str, str] = {"ended": verdict.outcome}
    if verdict.slowest_probe is not None:
        figures["slowest honest answer"] = f"{1000 * verdict.slowest_probe:.0f} ms"
    return Judged(check, "passed" if verdict.passed else "failed", verdict.why, figures=figures)


def entries_of(exchange: Exchange, address: str) -> list[Entry]:
    """What went over one connection of an attack, as evidence; its times are not known."""
    scribe = Scribe(exchange.number + 1, "connect", address)
    entries = [scribe.opened(0.0)]
    for direction, data in exchange.parts:
        entries += scribe.moved("<" if direction == "<" else ">", data, 0.0)
    if exchange.ended == "theirs":
        entries += scribe.ended("<", 0.0)
    return [*entries, *scribe.closed(0.0, lost=exchange.ended == "reset")]
