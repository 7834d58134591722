"""The zoo has teeth: for each deliberate weakening of our code, an attack turns red that is green without it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio

from osp2p.content import chunk_store
from osp2p.content import name as names
from osp2p.errors import ConnectionLost
from osp2p.evil import find_attacks
from osp2p.limits import Limits
from osp2p.net import LineConnection
from osp2p.net.admission import Admission
from osp2p.net.errors import deadline
from osp2p.peer import base_fetch, intake, transfer
from osp2p.peer.chunk_picker import ChunkPicker
from osp2p.peer.offer import Offer
from osp2p.peer.sending import Sender
from osp2p.peer.sharing import Sharing
from osp2p.peer.slots import UploadSlots
from osp2p.tracker import commands, lines, registry
from osp2p.tracker.state import TrackerState
from osp2p.wire.line import LineBuffer
from tests.evil.worlds import LIMITS
from tests.evil.zoo import run

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Mutant:
    """One weakening.

    Attributes:
        name: what is weaker.
        attacks: of which at least one must turn red.
        limits: fields of the victim's limits that are other than they should be.
        patch: changes its code.
        falls: whether it is the whole victim that fails, with an exception that nobody catches.
    """

    name: str
    attacks: tuple[str, ...]
    limits: dict[str, Any]
    patch: Patch = lambda monkeypatch: None
    falls: bool = False


def loosened(attack: str, **fields: float) -> Mutant:
    """Limits off by a factor."""
    text = ", ".join(f"{name} {value:g}" for name, value in fields.items())
    return Mutant(text, (attack,), dict(fields))


def changed(name: str, *attacks: str, falls: bool = False, **fields: Any) -> Callable[[Patch], Mutant]:
    """Code that does less than it should."""

    def make(patch: Patch) -> Mutant:
        return Mutant(name, attacks, fields, patch, falls)

    return make


@changed("a line's deadline moves on with each byte of it", "lines/drip")
def line_per_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LineBuffer, "__len__", lambda self: 0)


@changed("a request's deadline is for each read", "requests/drip", "session/drip")
def request_per_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read_line(self: LineConnection, at: float, whole_within: float = inf) -> bytes | None:
        patience = min(at - trio.current_time(), whole_within)
        while (line := self._buffer.next_line()) is None:
            with deadline(trio.current_time() + patience, "a read"):
                data = await self.connection.receive(65536)
            if not data:
                return None
            self._buffer.feed(data)
        return line

    monkeypatch.setattr(LineConnection, "read_line", read_line)


@changed("an upload's rate counts any byte", "uploads/sip")
def any_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send_range(self: Sender, connection: Any, fd: int, offset: int, count: int, note: Any = None) -> None:
        sent = 0
        while sent < count:
            with trio.fail_after(60):
                moved = await connection.send_file_some(fd, offset + sent, min(65536, count - sent))
            sent += moved

    monkeypatch.setattr(Sender, "send_range", send_range)


@changed("no path is checked where names are registered", "malformed/escapes")
def no_names_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_is_plain", lambda name, limits: True)


@changed("what is asked for is opened below the directory, unquoted and unchecked", "paths/outside", "paths/planted")
def serves_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    found, run_directory = Sharing.find, Sharing.run_directory
    roots: list[Path] = []

    async def noting(self: Sharing, directory: Path, **options: Any) -> None:
        roots.append(directory)
        await run_directory(self, directory, **options)

    def find(self: Sharing, name: bytes, b3: bytes | None = None) -> Offer | None:
        path = os.path.join(os.fsencode(roots[0]), name)
        if found(self, name, b3) is None and b"\0" not in path and os.path.isfile(path):
            return Offer(name, os.path.getsize(path), lambda: os.open(path, os.O_RDONLY))
        return found(self, name, b3)

    monkeypatch.setattr(Sharing, "run_directory", noting)
    monkeypatch.setattr(Sharing, "find", find)


@changed("names that a tracker lists are not checked", "listing/escapes")
def follows_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "safe_parts", lambda name, limits: tuple(name.split(b"/")))
    monkeypatch.setattr(names, "is_hidden", lambda name: False)
    monkeypatch.setattr("osp2p.content.store.check_way", lambda path, beneath: None)


@changed("aliases are printed raw", "aliases/newline")
def raw_aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "quote", lambda raw: raw)


@changed("names are printed raw", "lines/bytes")
def raw_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "quote", lambda raw: raw)
    monkeypatch.setattr(
        commands, "write_reply", lambda code, text, data=(), context=(): b"\n".join([*data, b"%d %s\n" % (code, text)])
    )


@changed("a checksum is replaced by whoever names another", "books/poison")
def replaceable_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.Registry._find

    def find(self: registry.Registry, name: bytes, claim: Any, current: Any, own: Any) -> Any:
        fits, target = found(self, name, claim, current, own)
        if not fits:
            target = self.contents(name)[0]
            target.md5 = claim.md5
        return True, target

    monkeypatch.setattr(registry.Registry, "_find", find)


@changed("one address may take all places in the books", "books/full")
def first_come_first_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_place(self: registry.Registry, peer: Any) -> bool:
        return self.registrations < self._most_registrations

    monkeypatch.setattr(registry.Registry, "_has_place", has_place)


@changed("registrations stay when their connection ends", "books/churn")
def never_logs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrackerState, "logout", lambda self, session: None)


@changed("nobody is closed for being one of too many", "connections/flood")
def no_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admission, "_send_one_away", lambda self, queue: True)


@changed("chunks are not proved", "chunks/all-wrong", "chunks/one-wrong")
def unproved_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake.Intake, "_prove", lambda self, batch: batch.last + 1)


@changed("a chunk list is not proved", "lists/wrong", "lists/one-wrong")
def unproved_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (intake, chunk_store):
        monkeypatch.setattr(module, "content_id", lambda size, hashes: _Anything())


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@changed("a copy counts whatever its checksum is", "wrong/bit", "wrong/size-kept")
def unproved_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_fetch._Body, "proved", property(lambda self: self.size > 0))


@changed("who lies is asked on", "chunks/all-wrong")
def no_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = intake.Intake._settle

    def forgiving(self: intake.Intake, batch: intake.Batch, end: int) -> None:
        settle(self, replace(batch, last=end - 1), end)

    monkeypatch.setattr(intake.Intake, "_settle", forgiving)


@changed("who is busy keeps what it was asked for, and is asked again at once", "pace/busy", least_busy_retry=0.0)
def patient_with_the_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChunkPicker, "refused", lambda self, key: None)


@changed("a content id is believed beside an old holder's checksum", "sybils/poison-b3")
def believes_late_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "needs_md5", lambda facts: False)


@changed("one address may have all places, and keeps them", "uploads/greedy", max_uploads_per_host=10**6)
def first_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UploadSlots, "_has_room", lambda self, own: self.running < self._limits.max_uploads)


@changed("any token will do", "overlay/tokens")
def any_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.overlay.tokens.Tokens.accept", lambda self, token, address, now: True)


@changed("signatures of items are not checked", "overlay/forged-items")
def any_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.overlay.item._is_signed", lambda key, signature, text: True)


@changed("callers' signatures are not checked", "calls/forged")
def any_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.rpc.serving.is_signed", lambda *rest: True)


@changed("calls are not remembered", "calls/replayed")
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.rpc.replay.ReplayGuard.take", lambda self, *rest: None)


@changed("results' signatures are not checked", "callees/forged")
def any_callee(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.rpc.connection.is_signed", lambda *rest: True)


@changed("results are signed for any call", "callees/early")
def any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.rpc.connection.is_signed", lambda *rest: True)


@changed("ranges are not checked against the file", "session/ranges")
def any_range(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("osp2p.peer.session._parse_byte_range", lambda text, size: (0, 1))


@changed("one connection's failure ends the server", "connections/resets", falls=True)
def contagious(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(handler: Any, visit: Any) -> None:
        try:
            await handler(visit.connection, visit)
        except ConnectionLost as error:
            raise RuntimeError("nobody caught it") from error

    monkeypatch.setattr("osp2p.net.serve._handle", handle)


MUTANTS = [
    *(mutant for mutant in list(globals().values()) if isinstance(mutant, Mutant)),
    loosened("lines/overlong", max_line=4096 * 1000),
    loosened("requests/overlong-complete", max_line=4096 * 10),
    loosened("connections/idle", first_command_timeout=6000.0),
    loosened("connections/unread", send_timeout=6000.0),
    loosened("requests/blank", max_blank_lines=100 * 1000),
    loosened("requests/silent", request_timeout=1500.0),
    loosened("requests/sends-on-slowly", linger_timeout=2000.0),
    loosened("uploads/sip", min_upload_rate=0.0),
    loosened("uploads/unread", upload_rate_window=6000.0),
    loosened("books/fake-haves", max_base_files=10**6),
    loosened("books/contents", max_contents_per_name=10**6),
    loosened("books/crowd", max_same_host_share=1.0),
    loosened("answers/base", max_base_reply=4095 * 10),
    loosened("aliases/longest", max_base_peer_line=4000),
    loosened("notify/flood", max_blocked_input=10**9),
    loosened("notify/queue", max_block_queue=10**6),
    loosened("session/held", max_held_stat=6000.0),
    loosened("listing/endless", max_listed_files=10**9),
    loosened("listing/slow", listing_timeout=6000.0),
    loosened("overlay/flood", overlay_in_burst=10**6),
    loosened("overlay/crowd", max_verifying=10**6),
    loosened("overlay/amplify", unproved_answer_factor=100.0),
    loosened("overlay/announce-keys", max_stored_peers_per_host=10**6),
    loosened("overlay/announce-one-key", max_peers_per_key_and_host=10**6),
    loosened("overlay/items", max_stored_items_per_host=10**6),
    loosened("overlay/oversized", max_datagram=10**6),
    loosened("calls/huge", max_call_body=10**9, max_call_bytes=10**12),
    loosened("calls/promised", max_call_bytes=10**12),
    loosened("calls/drip", call_body_timeout=6000.0),
    loosened("calls/untimely", call_window=10.0**6),
    loosened("calls/http-head", max_http_head=16 * 1024 * 1000),
    loosened("neighbours/sybils", max_lookup_same_network=10**6),
    loosened("neighbours/eclipse", max_bucket_same_network=10**6),
    loosened("neighbours/reflect", overlay_out_rate=1e6, overlay_out_burst=10**6),
    loosened("neighbours/many-peers", max_asked_peers=10**6),
    loosened("neighbours/silent-join", join_first=0.01, join_most=0.01, query_timeout=0.05),
    loosened("neighbours/silent-join", join_patience=6000.0),
    loosened("callees/slow", max_call_connections=10**6),
    loosened("callees/huge", max_call_body=10**9),
    loosened("callees/silent", provider_timeout=500.0, provider_patience=500.0, connect_timeout=500.0),
    loosened("callees/hoard", max_idle_calls=10**6),
    loosened("callees/hoard", max_contacts=10**6),
    loosened("callees/rested", call_idle=6000.0),
    loosened("callees/crowd", max_providers=10**6),
    loosened("neighbours/descent", lookup_timeout=6000.0),
    loosened("neighbours/descent", find_timeout=6000.0),
    loosened("callees/impostors", max_contact_addresses=1000),
    loosened("tracker/drip", answer_timeout=6000.0, reply_timeout=6000.0),
    loosened("tracker/silent", greeting_timeout=6000.0, connect_timeout=6000.0),
    loosened("tracker/blank-reply", max_reply_lines=20_000 * 1000),
    loosened("tracker/chatter", max_unasked_lines=100 * 1000),
    loosened("tracker/old-and-deaf", probe_timeout=0.5 * 1000),
    loosened("tracker/old-and-deaf", probe_again=0.0),
    loosened("lengths/endless-reply", max_peer_reply_bytes=100_000 * 1000),
    loosened("lengths/blank-reply", max_peer_reply_lines=5000 * 1000),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_an_attack_turns_red(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: Limits = replace(LIMITS, **mutant.limits)
    mutant.patch(monkeypatch)
    reasons = []
    for number, attack in enumerate(find_attacks(mutant.attacks)):
        root = tmp_path / str(number)
        root.mkdir()
        try:
            reasons.append(run(attack, root, limits).why)
        except Exception as error:
            if not mutant.falls:
                raise
            reasons.append(repr(error))
    assert any(reasons), f"{mutant.attacks} still pass"


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 10
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
