"""The verb OVERLAY: what a node knows of the overlay, for whoever sits at its machine.

Data lines, each a word and attributes::

    NODE network=NAME port=N             (no network= where it is BitTorrent's)
    FAMILY 4|6 id=HEX buckets=N,N… spares=N [host=ADDRESS]
    NEIGHBOUR 4|6 id=HEX at=ADDRESS quiet=MILLISECONDS failures=N
    STORED keys=N peers=N items=N
    PUBLISHED all=N taken=N
    COUNT name=TEXT n=N
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import trio

from osp2p.errors import MalformedLine, NobodyHasIt
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.overlay.identifier import ID_BYTES
from osp2p.overlay.node import Overlay
from osp2p.overlay.status import FamilyStatus, NeighbourStatus, OverlayStatus
from osp2p.peer.chunk_client import HELLO
from osp2p.peer.session import PeerVerbs, Session
from osp2p.wire.address import parse_address
from osp2p.wire.entry import parse_number
from osp2p.wire.request import Request, parse_words, write_request, write_words

#: What a node in an overlay says of itself.
_FEATURE = b"FEATURE overlay"

#: The largest number that is read from a status: none is near it.
_MOST = 1 << 62


def add_overlay_verb(verbs: PeerVerbs, features: list[bytes], overlay: Callable[[], Overlay | None]) -> None:
    """Let a peer's port tell of the overlay, to connections from its own machine alone."""
    features.append(_FEATURE)

    @verbs.verb("OVERLAY", (0, 0), "OVERLAY", "what this node knows of the overlay; for its own machine alone")
    async def _overlay(session: Session, request: Request) -> None:
        node = overlay()
        if not session.lines.connection.remote.is_loopback:
            await session.reply(300, b"this is told on the node's own machine alone")
        elif node is None:
            await session.reply(300, b"this node is in no overlay")
        else:
            await session.reply(200, b"that is all", write_status(node.status()))


def _number(value: int) -> bytes:
    return b"%d" % value


def _line(*words: bytes, **attributes: bytes) -> bytes:
    return write_words(words, {key.encode(): value for key, value in attributes.items()})


def write_status(status: OverlayStatus) -> list[bytes]:
    """Write what a node knows, as data lines."""
    network = {} if status.network is None else {"network": status.network.encode()}
    lines = [_line(b"NODE", port=_number(status.port), **network)]
    for family in status.families:
        name = b"6" if family.ipv6 else b"4"
        host = {} if family.host is None else {"host": family.host.encode()}
        buckets = b",".join(map(_number, family.buckets))
        lines.append(
            _line(b"FAMILY", name, id=family.id.hex().encode(), buckets=buckets, spares=_number(family.spares), **host)
        )
        lines += [
            _line(
                b"NEIGHBOUR",
                name,
                id=neighbour.id.hex().encode(),
                at=str(neighbour.address).encode(),
                quiet=_number(round(neighbour.quiet * 1000)),
                failures=_number(neighbour.failures),
            )
            for neighbour in family.neighbours
        ]
    lines.append(
        _line(
            b"STORED",
            keys=_number(status.stored_keys),
            peers=_number(status.stored_peers),
            items=_number(status.stored_items),
        )
    )
    lines.append(_line(b"PUBLISHED", all=_number(status.published), taken=_number(status.published_taken)))
    lines += [_line(b"COUNT", name=name.encode(), n=_number(number)) for name, number in status.counts.items()]
    return lines


def parse_status(lines: Iterable[bytes]) -> OverlayStatus:
    """Read what a node knows.

    Raises:
        MalformedLine: it cannot be read.
    """
    network: str | None = None
    port = 0
    families: dict[bool, FamilyStatus] = {}
    neighbours: dict[bool, list[NeighbourStatus]] = {False: [], True: []}
    stored: Mapping[bytes, bytes] = {}
    published: Mapping[bytes, bytes] = {}
    counts: dict[str, int] = {}
    for line in lines:
        words, attributes = parse_words(line.split(), attributes=True)
        kind, ipv6 = words[:1], words[1:] == (b"6",)
        if kind == (b"NODE",):
            network = _text(attributes[b"network"]) if b"network" in attributes else None
            port = _get(attributes, b"port")
        elif kind == (b"FAMILY",):
            families[ipv6] = _parse_family(attributes, ipv6)
        elif kind == (b"NEIGHBOUR",):
            neighbours[ipv6].append(_parse_neighbour(attributes))
        elif kind == (b"STORED",):
            stored = attributes
        elif kind == (b"PUBLISHED",):
            published = attributes
        elif kind == (b"COUNT",):
            counts[_text(attributes.get(b"name", b""))] = _get(attributes, b"n")
    return OverlayStatus(
        network=network,
        port=port,
        read_only=False,
        families=tuple(
            FamilyStatus(ipv6, family.id, family.host, family.buckets, family.spares, tuple(neighbours[ipv6]))
            for ipv6, family in families.items()
        ),
        stored_keys=_get(stored, b"keys"),
        stored_peers=_get(stored, b"peers"),
        stored_items=_get(stored, b"items"),
        published=_get(published, b"all"),
        published_taken=_get(published, b"taken"),
        counts=counts,
    )


async def ask_status(network: Network, host: str, port: int, limits: Limits) -> OverlayStatus:
    """Ask a node on this machine what it knows.

    Raises:
        NetworkError, RemoteProtocolError: it does not answer, or not as it should.
        NobodyHasIt: it is in no overlay, or does not tell.
    """
    at = trio.current_time() + limits.connect_timeout
    with deadline(at, f"{host}:{port}"):
        connection = await network.connect(host, port)
    lines = LineConnection(connection, limits, of_peer=True)
    try:
        await lines.send(HELLO + write_request(b"OVERLAY"), at)
        hello = await lines.read_reply(at)
        reply = await lines.read_reply(at)
    finally:
        lines.close()
    if not hello.ok or _FEATURE not in hello.data:
        raise NobodyHasIt(f"the node at {host}:{port} is in no overlay")
    if not reply.ok:
        raise NobodyHasIt(f"the node at {host}:{port} says: {reply.text.decode('utf-8', 'replace')}")
    return parse_status(reply.data)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _get(attributes: Mapping[bytes, bytes], key: bytes) -> int:
    return parse_number(attributes.get(key, b""), _MOST, key.decode())


def _id(attributes: Mapping[bytes, bytes]) -> bytes:
    try:
        found = bytes.fromhex(_text(attributes.get(b"id", b"")))
    except ValueError:
        found = b""
    if len(found) != ID_BYTES:
        raise MalformedLine("an id has 40 hex digits")
    return found


def _parse_family(attributes: Mapping[bytes, bytes], ipv6: bool) -> FamilyStatus:
    return FamilyStatus(
        ipv6=ipv6,
        id=_id(attributes),
        host=_text(attributes[b"host"]) if b"host" in attributes else None,
        buckets=tuple(parse_number(part, _MOST, "buckets") for part in attributes.get(b"buckets", b"").split(b",")),
        spares=_get(attributes, b"spares"),
        neighbours=(),
    )


def _parse_neighbour(attributes: Mapping[bytes, bytes]) -> NeighbourStatus:
    return NeighbourStatus(
        id=_id(attributes),
        address=parse_address(attributes.get(b"at", b""), ipv6=True),
        quiet=_get(attributes, b"quiet") / 1000,
        failures=_get(attributes, b"failures"),
    )
