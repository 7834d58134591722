"""Fetching from one holder: what it has, its chunk list, and chunks for as long as it has some that are missing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from osp2p.errors import NetworkError
from osp2p.net import Network
from osp2p.peer.chunk_client import ChunkClient, HolderState, NotHere, OtherSize, Take, open_holder
from osp2p.peer.chunk_picker import Assignment
from osp2p.peer.intake import Batch, Intake
from osp2p.wire.address import Address

#: How many times as long the next pause is, after a watch has failed.
_BACK_OFF = 2.0


class HolderFetch:
    """One connection to one holder, and a second one that follows what it gains.

    Args:
        client: the connection.
        intake: the books that all holders of the content share.
        network: for the second connection.
        crowded: whether other holders wait for a place.
    """

    def __init__(
        self, client: ChunkClient, key: Address, intake: Intake, network: Network, crowded: Callable[[], bool]
    ) -> None:
        self._client = client
        client.comes = self._comes
        self._key = key
        self._intake = intake
        self._picker = intake.picker
        self._limits = intake.limits
        self._network = network
        self._crowded = crowded
        self._ahead: deque[Assignment] = deque()
        self._busy_until = 0.0
        self._claims_list = False
        self._list_again_at = 0.0
        self._idle_since: float | None = trio.current_time()
        self._writing: deque[trio.Event] = deque()
        #: Rings when this holder has something new, while it is waited for work for it: that is no news for the others.
        self._bell = trio.Event()
        #: Set while nothing is on its way: whoever delivers says with that what he has gained.
        self._idle = trio.Event()
        self._idle.set()
        #: Whether the holder has answered.
        self.talked = False
        #: Bytes that have come of what is not whole yet, about.
        self.unfinished = 0
        self._works_since: float | None = None

    def works_for(self, now: float) -> float:
        """For how many seconds it has owed something, and delivered nothing whole."""
        return 0.0 if self._works_since is None else now - self._works_since

    def _comes(self, count: int) -> None:
        self.unfinished += count
        self._intake.comes(count)

    async def run(self) -> None:
        """Fetch until everything is here, or others wait for the place of a holder that has nothing to give.

        Raises:
            ChecksumMismatch, NotHere, MalformedLine, LineTooLong: what the holder did wrong, or refuses.
            Stalled, NetworkError: how it failed.
            StoreError: the disk.

            As a group, if several came at a time.
        """
        try:
            state, latency = await self._learn()
            self.talked = True
            self._picker.add_holder(self._key, latency)
            self._note(state)
            if not await self._get_list():
                return
            async with trio.open_nursery() as nursery:
                if state.ranges is not None:
                    nursery.start_soon(self._watch, state.serial)
                await self._fetch(nursery)
                nursery.cancel_scope.cancel()
        finally:
            self._let_others_ask()
            if self._key in self._picker:
                self._picker.remove_holder(self._key)
            self._intake.delivering.discard(self._key)

    # --- what it has ---

    async def _learn(self) -> tuple[HolderState, float]:
        """Ask what the holder has; one that does not know yet is asked again, unless others wait for its place.

        Returns: that, and how many seconds it took to answer.
        """
        while True:
            asked_at = trio.current_time()
            asks_list = self._claim_list()
            await self._client.send(
                [self._client.stat(), self._client.chunks()] if asks_list else [self._client.stat()]
            )
            state: HolderState | NotHere
            try:
                state = await self._client.read_stat(self._patience())
            except NotHere as refusal:
                state = refusal
            except OtherSize as other:
                if self._intake.is_size_proved:
                    raise
                self._intake.dispute()
                raise NotHere(301, str(other)) from None
            latency = trio.current_time() - asked_at
            if asks_list:
                await self._take_list()
            if isinstance(state, HolderState):
                return state, latency
            if trio.current_time() >= self._leave_at():
                raise state
            await self._wait_if_busy(state)

    def _patience(self) -> float:
        """How long the first answer may take: the less, the more others wait for the place of one who is silent."""
        limits = self._limits
        return min(limits.first_byte_timeout, limits.idle_holder) if self._crowded() else limits.first_byte_timeout

    async def _wait_if_busy(self, refusal: NotHere) -> None:
        """Wait as long as a busy holder wants. Raises: NotHere: it refuses for another reason."""
        if refusal.code != 303:
            raise refusal
        await trio.sleep(refusal.retry)

    def _note(self, state: HolderState) -> None:
        now = trio.current_time()
        if state.ranges is None:
            news = self._picker.set_all(self._key, now)
        elif state.delta:
            news = self._picker.gain(self._key, state.ranges, now)
        else:
            news = self._picker.set_only(self._key, state.ranges, now)
        if news:
            self._bell.set()

    def _begins(self, gained: list[tuple[int, int]]) -> None:
        """An answer begins, and tells what the holder has gained."""
        now = trio.current_time()
        self._picker.begins(self._key, now)
        if gained:
            self._picker.gain(self._key, gained, now)

    async def _watch(self, serial: int) -> None:
        """Follow what a partial holder gains, on a connection of its own, until it has all.

        While it delivers, its answers tell that, and nothing more is asked: in a swarm, where everybody gains something
        all the time and is watched by many, most of what is said would be that.

        A connection that fails is made again: only the other one tells whether the holder is gone.
        """
        wait = self._limits.max_held_stat / 2
        pause = self._limits.retry_pause
        while True:
            try:
                async with open_holder(self._network, self._key, self._intake.content, self._limits) as client:
                    while True:
                        await client.send([client.stat(serial, wait)])
                        state = await client.read_stat(wait + self._limits.first_byte_timeout)
                        self._note(state)
                        if state.ranges is None:
                            return
                        serial = state.serial
                        pause = self._limits.retry_pause
                        reading = len(state.ranges) / self._limits.max_ranges_rate
                        await trio.sleep(max(self._limits.watch_pause, reading))
                        await self._idle.wait()
            except NotHere as refusal:
                await self._wait_if_busy(refusal)
            except NetworkError:
                await trio.sleep(pause)
                pause = min(_BACK_OFF * pause, self._limits.last_refresh)

    # --- the chunk list ---

    def _claim_list(self) -> bool:
        """Whether to ask for the chunk list: it is needed, and no other holder was asked a moment ago."""
        intake, now = self._intake, trio.current_time()
        if not intake.needs_list or now < max(intake.list_due, self._list_again_at):
            return False
        intake.list_due = now + self._limits.hedge_after
        self._claims_list = True
        return True

    async def _take_list(self) -> None:
        """Read the chunk list that was asked for. One that does not have it itself yet may be asked again."""
        try:
            self._intake.take_list(await self._client.read_chunks())
        except NotHere as refusal:
            if refusal.code != 303:
                raise
            self._list_again_at = trio.current_time() + refusal.retry
        self._let_others_ask()

    def _let_others_ask(self) -> None:
        if self._claims_list:
            self._claims_list = False
            self._intake.list_due = 0.0
            self._intake.wake()

    async def _get_list(self) -> bool:
        """Wait for the chunk list, from whomever it comes. Returns: False to leave the place to another holder."""
        while self._intake.needs_list:
            if trio.current_time() >= self._leave_at():
                return False
            if self._claim_list():
                await self._client.send([self._client.chunks()])
                await self._take_list()
            else:
                due = max(self._intake.list_due, self._list_again_at)
                await self._intake.wait_changed(min(due, self._leave_at()))
        return True

    # --- its chunks ---

    async def _fetch(self, nursery: trio.Nursery) -> None:
        """Keep requests on their way, and take what is answered."""

        async def take(first: int, data: memoryview) -> None:
            self._idle_since = self._works_since = None  # how long the disk takes is not the holder's fault
            self._intake.heard(self._key, len(data))
            if len(self._writing) == self._client.spare:
                await self._writing.popleft().wait()  # its memory is filled again when this returns
            batch = self._intake.hold(self._key, first, data)
            done = trio.Event()
            self._writing.append(done)
            if len(data) < self._limits.thread_batch:
                self._intake.keep(batch)
                done.set()
            else:
                nursery.start_soon(self._write, batch, done)
            self._begin_work()

        while not self._picker.complete:
            if lines := self._next_requests():
                await self._client.send(lines)
            if self._ahead:
                if self._works_since is None:
                    self._begin_work()
                self._intake.delivering.add(self._key)
                await self._take_answer(self._ahead.popleft(), take)
            else:
                self._works_since = None
                self._intake.delivering.discard(self._key)
                if not await self._wait_for_work():
                    return

    def _begin_work(self) -> None:
        """From now on something whole is waited for."""
        self._works_since, self.unfinished = trio.current_time(), 0

    def _next_requests(self) -> list[bytes]:
        """As many requests as there is room and work for."""
        now = trio.current_time()
        lines: list[bytes] = []
        while now >= self._busy_until and (assignment := self._picker.assign(self._key, now)) is not None:
            self._ahead.append(assignment)
            if self._idle.is_set():
                self._idle = trio.Event()
            if assignment.any:
                lines.append(self._client.get_any(assignment.any))
            else:
                lines.append(self._client.get_run(assignment.first, assignment.last))
        return lines

    async def _write(self, batch: Batch, done: trio.Event) -> None:
        await self._intake.keep_in_thread(batch)
        done.set()

    async def _take_answer(self, asked: Assignment, take: Take) -> None:
        """Read the answer to one request.

        Raises:
            NotHere: a refusal after which nothing more is to be had here.
        """
        try:
            if asked.any:
                await self._client.read_any(asked.any, take, self._begins)
            else:
                await self._client.read_data(asked.first, asked.last, take, self._begins)
        except NotHere as refusal:
            if refusal.code == 302:
                self._picker.lose(self._key, asked.bits)
            elif refusal.code == 303:
                self._busy_until = trio.current_time() + refusal.retry
                self._picker.refused(self._key)
            else:
                raise
            self._intake.wake()
        self._picker.answered(self._key)

    # --- its place ---

    def _leave_at(self) -> float:
        """When this holder's place goes to another, if it is of no use until then, and others wait."""
        if self._idle_since is None:
            self._idle_since = trio.current_time()
        return self._idle_since + self._limits.idle_holder if self._crowded() else float("inf")

    async def _wait_for_work(self) -> bool:
        """Wait until there may be something to ask for. Returns: False to leave the place to another holder."""
        leave_at = self._leave_at()
        now = trio.current_time()
        if now >= leave_at:
            return False
        self._idle.set()
        look_at = self._busy_until if now < self._busy_until else now + self._picker.idle_for(self._key)
        self._bell = trio.Event()
        await self._intake.wait_changed(min(look_at, leave_at), self._bell)
        return True
