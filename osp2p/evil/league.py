"""Nodes of an overlay that work together: whoever joins through them, or is led to them, is told what they like.

They enter through honest nodes, where such are known, and are in everybody's tables like any other. Which ids they
have follows from what they are asked: each is as near to every target as its address allows.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import NoReturn

import trio

from osp2p.errors import ConnectionLost, ListenFailed
from osp2p.evil.bounds import DEFAULT_BOUNDS, LOOPBACK, Bounds, Budget, Subnet, Unsound, find_allowed, is_allowed
from osp2p.evil.datagrams import Value, decode, encode, pack, returned
from osp2p.evil.network import DatagramNetwork, DatagramSocket, Listener, Network, Place, SocketNetwork, Stream
from osp2p.evil.registry import Attack
from osp2p.evil.run import Attacked, Ended, Report, ignore, run_bounded
from osp2p.evil.trap import listen
from osp2p.limits import DEFAULT, Limits

_PATIENCE = 2.0

#: What a network's tag cannot be, so that an honest node says what it is.
_NO_NETWORK = b"another!"


# --- ids ---


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def id_near(target: bytes, host: str, number: int) -> bytes:
    """The id next to a target that an address may have; of IPv6 addresses, and private ones, any.

    Args:
        number: tells ids of one host apart.

    Source: BEP 42.
    """
    own = target[:16] + (number + 1).to_bytes(3, "big") + target[19:]
    address = ipaddress.ip_address(host)
    if address.version == 6 or address.is_private:
        return own
    found = []
    for chosen in range(8):
        masked = int(address) & 0x030F3FFF | chosen << 29
        first = _crc32c(masked.to_bytes(4, "big")).to_bytes(4, "big")
        third = first[2] & 0xF8 | own[2] & 0x07
        found.append(first[:2] + bytes([third]) + own[3:19] + bytes([own[19] & 0xF8 | chosen]))
    return min(found, key=lambda one: int.from_bytes(one, "big") ^ int.from_bytes(target, "big"))


# --- members ---


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks.

    Attributes:
        method: of the query.
        target: the id or key that he looks for; b"" where he looks for none.
        source: who asks.
        sender: the id that he calls himself by.
    """

    method: bytes
    target: bytes
    source: Place
    sender: bytes


class Member:
    """One node of a league: a port, and an id for every target.

    Attributes:
        base: what its id is next to for those who have not been told another one.
        named: for whom and next to what it has been named.
    """

    def __init__(self, sock: DatagramSocket, number: int, base: bytes) -> None:
        self.socket = sock
        self.number = number
        self.host = sock.address.host
        self.base = base
        self.named: set[tuple[str, bytes]] = set()

    @property
    def port(self) -> int:
        """Its UDP port."""
        return self.socket.address.port

    def id_for(self, target: bytes) -> bytes:
        """What it calls itself next to a target."""
        return id_near(target, self.host, self.number)

    def id_before(self, question: Question) -> bytes:
        """What whoever asks takes it for."""
        known = (question.source.host, question.target) in self.named
        return self.id_for(question.target if known else self.base)


Lie = Callable[[Member, Question], Mapping[bytes, Value] | None]
"""What a member answers: values, or None for silence."""


def be_silent(member: Member, question: Question) -> None:
    """Answer nothing."""


class League:
    """All of an attack's nodes: what it has in its hands.

    Attributes:
        rng: the attack's randomness.
        limits: what the victims' limits are, as far as one knows.
        lie: what is answered to those who look for something; pings are answered rightly as long as there is a lie.
        delay: seconds before an answer.
        honest: nodes of others that we know: packed, as answers name them.
        came: how many queries have come, by the address of who asked and by that of ours.
        began: when the first of them came.
        members: all of us.
        visits: connections to `open_doors` so far.
        inside: of them, those that are open now.
        most_inside: as many were at some time.
    """

    def __init__(
        self, nursery: trio.Nursery, networks: Sequence[Network], port: int, budget: Budget, rng: Random,
        limits: Limits, joins: Sequence[tuple[str, int]], allowed: Sequence[Subnet], note: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.rng = rng
        self.limits = limits
        self.lie: Lie = be_silent
        self.delay = 0.0
        self.honest = b""
        self.came: Counter[tuple[str, str]] = Counter()
        self.began: float | None = None
        self.members: list[Member] = []
        self.visits = 0
        self.inside = 0
        self.most_inside = 0
        self.sent = 0
        self.begin: Callable[[], None] = _nothing
        self._networks = tuple(networks)
        self._port = port
        self._budget = budget
        self._joins = tuple(joins)
        self._allowed = tuple(allowed)
        self._note = note
        self._network = b""
        self._waiting: dict[bytes, tuple[trio.Event, list[dict[bytes, Value]]]] = {}
        self._rows: dict[bytes, list[Member]] = {}
        self._doors: list[Listener] = []
        self._nursery = nursery

    def check(self, condition: bool, text: str) -> None:
        """Say what a sound victim does. Raises: Unsound: it does not."""
        if not condition:
            raise Unsound(text)

    # --- being there ---

    async def add(self, more: int, sources: int = 1) -> None:
        """Become more, at some of our addresses in turn, and enter where honest nodes are known."""
        for _ in range(more):
            number = len(self.members)
            network = self._networks[number % min(sources, len(self._networks))]
            assert isinstance(network, DatagramNetwork)
            sock = await network.open_datagrams(0 if number else self._port)
            member = Member(sock, number, self.rng.randbytes(20))
            self.members.append(member)
            self._nursery.start_soon(self._serve, member)
            for join in self._joins:
                await self._enter(member, join)

    async def _enter(self, member: Member, join: tuple[str, int]) -> None:
        if not self._network:
            self._network = _NO_NETWORK
            refusal = await self._ask(member, join, b"ping", {b"pad": bytes(100)})
            found = refusal.get(b"net")
            self._network = found if isinstance(found, bytes) else b""
        answer = await self._ask(
            member, join, b"find_node", {b"target": member.id_for(member.base), b"pad": bytes(300)}
        )
        nodes = returned(answer).get(b"nodes")
        if isinstance(nodes, bytes) and not self.honest:
            self.honest = nodes[: 26 * 8]
        seen = answer.get(b"ip")
        if member.host == "0.0.0.0" and isinstance(seen, bytes) and len(seen) == 6:
            member.host = str(ipaddress.ip_address(seen[:4]))

    async def _ask(
        self, member: Member, where: tuple[str, int], method: bytes, arguments: Mapping[bytes, Value]
    ) -> dict[bytes, Value]:
        transaction = self.rng.randbytes(6)
        there, answers = self._waiting[transaction] = (trio.Event(), [])
        values: dict[bytes, Value] = {b"id": member.id_for(member.base), **arguments}
        top: dict[bytes, Value] = {b"t": transaction, b"y": b"q", b"q": method, b"a": values}
        self._send(member, type(member.socket.address)(*where), top, self._network)  # type: ignore[call-arg]
        with trio.move_on_after(_PATIENCE):
            await there.wait()
        del self._waiting[transaction]
        return answers[0] if answers else {}

    def _send(self, member: Member, to: Place, top: Mapping[bytes, Value], network: bytes) -> None:
        data = encode({**top, **({b"net": network} if network else {})})
        if len(data) <= self._budget.left:
            self._budget.left -= len(data)
            self.sent += len(data)
            member.socket.send(data, to)

    async def _serve(self, member: Member) -> None:
        with suppress(ConnectionLost):
            while True:
                data, source = await member.socket.receive()
                message = decode(data)
                if isinstance(message, dict) and is_allowed(source.host, self._allowed):
                    self._take(member, message, source)

    def _take(self, member: Member, message: dict[bytes, Value], source: Place) -> None:
        transaction = message.get(b"t")
        if not isinstance(transaction, bytes):
            return
        if message.get(b"y") != b"q":
            if transaction in self._waiting:
                there, answers = self._waiting[transaction]
                answers.append(message)
                there.set()
            return
        asked = message.get(b"a")
        arguments = asked if isinstance(asked, dict) else {}
        target = arguments.get(b"target", arguments.get(b"info_hash", b""))
        sender = arguments.get(b"id")
        method = message.get(b"q")
        network = message.get(b"net", b"")
        if not (
            isinstance(target, bytes)
            and isinstance(sender, bytes)
            and isinstance(method, bytes)
            and isinstance(network, bytes)
        ):
            return
        self._network = network
        if (source.host, source.port) not in self._joins:
            self.came[source.host, member.host] += 1
            self.began = trio.current_time() if self.began is None else self.began
            self._note(source.host)
        self._answer(member, Question(method, target, source, sender), transaction, network)

    def _answer(self, member: Member, question: Question, transaction: bytes, network: bytes) -> None:
        if self.lie is be_silent:
            return
        own = member.id_before(question)
        values = {} if question.method == b"ping" else self.lie(member, question)
        if values is None:
            return
        top: dict[bytes, Value] = {b"t": transaction, b"y": b"r", b"r": {b"id": own, **values}}

        async def send_later() -> None:
            await trio.sleep(self.delay)
            self._send(member, question.source, top, network)

        if self.delay:
            self._nursery.start_soon(send_later)
        else:
            self._send(member, question.source, top, network)

    def knock(self, question: Question) -> None:
        """Ask somebody who has asked us, as all of us, each with an id next to his own."""
        for member in self.members:
            member.base = question.sender
            values: dict[bytes, Value] = {
                b"id": member.id_for(member.base),
                b"target": question.sender,
                b"pad": bytes(300),
            }
            top: dict[bytes, Value] = {b"t": b"hi", b"y": b"q", b"q": b"find_node", b"a": values}
            self._send(member, question.source, top, self._network)

    def name_each_other(self, question: Question, most: int = 16) -> bytes:
        """Members, packed, the nearest to what is looked for first."""
        return self._name(self._by_distance(question.target)[:most], question)

    def name_in_row(self, question: Question, place: int) -> bytes:
        """One member, packed: of all in a row, the farthest from what is looked for first; b"" behind the nearest."""
        row = self._by_distance(question.target)
        return self._name(row[len(row) - 1 - place :][:1] if place < len(row) else [], question)

    def _by_distance(self, target: bytes) -> list[Member]:
        row = self._rows.get(target)
        if row is None or len(row) < len(self.members):
            number = int.from_bytes(target, "big")
            row = sorted(self.members, key=lambda member: int.from_bytes(member.id_for(target), "big") ^ number)
            self._rows[target] = row
        return row

    def _name(self, members: Sequence[Member], question: Question) -> bytes:
        for member in members:
            member.named.add((question.source.host, question.target))
        return b"".join(member.id_for(question.target) + pack(member.host, member.port) for member in members)

    # --- peers that are not ---

    async def open_doors(self, number: int) -> list[bytes]:
        """Open ports at which nobody ever says a word. Returns: them, packed, as answers name peers."""
        for _ in range(number):
            door = await listen(self._networks[0], 0, self._allowed)
            self._doors.append(door)
            self._nursery.start_soon(self._hold_all, door)
        host = self.members[0].host
        return [pack(host, door.address.port) for door in self._doors]

    async def _hold_all(self, door: Listener) -> None:
        async def hold(stream: Stream) -> None:
            self.visits += 1
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            with suppress(ConnectionLost):
                while await stream.receive(4096):
                    pass
            self.inside -= 1
            stream.close()

        with suppress(ListenFailed):
            async with trio.open_nursery() as nursery:
                while True:
                    nursery.start_soon(hold, await door.accept())

    def close(self) -> None:
        """Close all ports; waits for nothing."""
        for member in self.members:
            member.socket.close()
        for door in self._doors:
            door.close()


async def run_evil_nodes(
    attack: Attack,
    joins: Sequence[tuple[str, int]] = (),
    *,
    seed: int,
    networks: Sequence[Network] = (),
    port: int = 0,
    bounds: Bounds = DEFAULT_BOUNDS,
    allowed: Sequence[Subnet] = LOOPBACK,
    limits: Limits = DEFAULT,
    report: Report = ignore,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Be evil nodes of an overlay; runs until cancelled.

    Args:
        attack: one whose role is ``neighbour``.
        joins: honest nodes to enter through; none: only those who join through us meet us.
        seed: of all that is random.
        networks: where they are; nothing: this machine's.
        port: of the first of them; 0: any free one.
        bounds: how far they may go, all together.
        allowed: the only networks whose hosts are attacked.
        limits: what the victims' are thought to be.
        report: told of each host when it comes for the first time, and of what was unsound; may not raise.
        task_status: gets host and port of the first of them, when all is prepared.

    Raises:
        NotAllowed: an honest node is in none of the networks.
        ListenFailed: the port cannot be opened.

    Cancellation: all ports are closed.
    """
    met: dict[str, None] = {}
    began = trio.current_time()

    def tell(host: str, ended: Ended, why: str = "") -> None:
        report(Attacked(attack.id, host, b"", league.sent, trio.current_time() - began, ended, why))

    def note(host: str) -> None:
        if host not in met:
            met[host] = None
            tell(host, "done")

    known = [(await find_allowed(host, at, allowed), at) for host, at in joins]
    async with trio.open_nursery() as nursery:
        league = League(
            nursery, networks or [SocketNetwork(None, None)], port, Budget(bounds), Random(f"{seed} {attack.id}"),
            limits, known, allowed, note,
        )  # fmt: skip
        league.begin = partial(_begin, league, task_status)
        try:
            ended, why = await run_bounded(attack, league, float("inf"))
            tell(next(iter(met), ""), ended, why)
            league.begin()
            await trio.sleep_forever()
        finally:
            league.close()
    raise AssertionError("only cancellation ends it")


def _begin(league: League, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
    """Say, once, that all is prepared."""
    league.begin = _nothing
    task_status.started((league.members[0].host, league.members[0].port))


def _nothing() -> None:
    """It has been said."""
