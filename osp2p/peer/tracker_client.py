"""A client of one tracker: requests in order, replies in order, with HELLO where the tracker knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice

import trio

from osp2p.errors import (
    ConnectionLost,
    LineTooLong,
    NetworkError,
    NobodyHasIt,
    TimedOut,
    TrackerRefused,
    TrackerUnreachable,
)
from osp2p.limits import Limits
from osp2p.net import LineConnection, Network
from osp2p.net.errors import deadline
from osp2p.net.groups import one_error
from osp2p.peer.tracker_facts import (
    ListedContent,
    TrackerFacts,
    counts_of_stat,
    facts_of_stat,
    listed_contents,
    md5_of,
    parse_entries,
    weight_of,
)
from osp2p.peer.tracker_listing import LIST_ALL, Listing, list_line, listed_names
from osp2p.wire.address import Address
from osp2p.wire.entry import FileEntry, PeerEntry, parse_file_line, parse_peer_line
from osp2p.wire.reply import Reply, is_reply_line
from osp2p.wire.request import write_request

#: How many requests are on their way at a time to a tracker that said HELLO; an old one gets one at a time.
_WINDOW = 500

#: The code of what a tracker cannot make sense of; servers of other kinds use those from there on.
_UNKNOWN = 500

#: How much is shown of what a server says that is no tracker, in bytes.
_SHOWN_GREETING = 60


class TrackerClient:
    """One connection to a tracker. Made by `open_tracker`.

    Several tasks may use it at a time: each waits for its turn. A request that is cancelled between its sending and
    its reply ruins the connection, which every later request then reports as `ConnectionLost`.
    """

    def __init__(self, lines: LineConnection, limits: Limits, label: str) -> None:
        self._lines = lines
        self._limits = limits
        self._turn = trio.Lock()
        self._broken = False
        self._weight = 0
        self._unasked = 0
        #: How users know this tracker: ``host:port``.
        self.label = label
        #: How many seconds an answer may take to begin.
        self.patience = limits.reply_timeout
        #: Whether an answer has begun and is not whole yet.
        self.is_answering = False
        #: FEATURE lines of a tracker that speaks OSP2P/2: name to the rest of the line. None for an old one.
        self.features: dict[bytes, bytes] | None = None

    @property
    def hello(self) -> bool:
        """Whether the tracker answered HELLO."""
        return self.features is not None

    @property
    def remote(self) -> Address:
        """The tracker's address."""
        return self._lines.connection.remote

    @property
    def local(self) -> Address:
        """Our side's address: what the tracker sees, unless there is a NAT."""
        return self._lines.connection.local

    async def read_greeting(self, at: float = float("inf")) -> None:
        """Read what a tracker says on connecting.

        Args:
            at: the absolute time by which it must be here, if that is before `greeting_timeout`.

        Raises:
            NetworkError, LineTooLong, TrackerRefused.
            TrackerUnreachable: it begins as no reply does: a server of another kind, such as SSH.
        """
        at = min(at, trio.current_time() + self._limits.greeting_timeout)
        first: bytes | None = b""
        while first is not None and not first.strip():
            first = await self._lines.read_line(at)
        if first is None:
            raise ConnectionLost(f"{self.label}: closed without a greeting")
        if not is_reply_line(first):
            said = first[:_SHOWN_GREETING].decode("utf-8", "backslashreplace").strip()
            raise TrackerUnreachable(f"{_no_tracker(self.label)}: it greets with {said!r}")
        self._expect(await self._lines.read_reply(at, first), "the connection")

    async def say_hello(self) -> None:
        """Say HELLO, and remember the features of a tracker that knows it.

        Raises:
            NetworkError, LineTooLong.
        """
        reply = await self.request(b"HELLO OSP2P/2\n")
        if reply.ok:
            features = [line.split(None, 2)[1:] for line in reply.data if line.startswith(b"FEATURE ")]
            self.features = {words[0]: b" ".join(words[1:]) for words in features if words}

    async def request(self, line: bytes) -> Reply:
        """Send one line and read its reply.

        Raises:
            NetworkError, LineTooLong.
        """
        (reply,) = await self.requests([line])
        return reply

    async def requests(self, lines: Iterable[bytes]) -> list[Reply]:
        """Send lines, each with its LF, and read a reply for each: pipelined where the tracker said HELLO.

        Args:
            lines: taken as they are sent, so that some can be written while others are answered.

        Raises:
            NetworkError, LineTooLong.
        """
        replies: list[Reply] = []
        async with self._turn:
            self._begin()
            if self.hello:
                await self._pipeline(iter(lines), replies)
            else:
                for line in lines:
                    await self._send(line)
                    await self._read_replies(1, replies)
            self._broken = False
        return replies

    def _begin(self) -> None:
        """Begin to ask: until every reply is here the connection is of no use to others. Raises: ConnectionLost."""
        self._check_sound()
        self._broken = True  # a cancelled request leaves it so
        self._lines.forget_buffered()
        self._weight = 0

    async def _pipeline(self, lines: Iterator[bytes], replies: list[Reply]) -> None:
        """Send lines, a window ahead of those that are being answered, and read their replies.

        Sending and reading go on at the same time: a tracker that waits until its replies are read does not read
        either, so whoever sends all before reading may wait for ever.
        """
        window = list(islice(lines, _WINDOW))
        if len(window) == 1:
            await self._send(window[0])
            return await self._read_replies(1, replies)
        going, sent = trio.open_memory_channel[int](1)

        async def send_all() -> None:
            nonlocal window
            with going:
                while window:
                    await going.send(len(window))
                    await self._send(b"".join(window))
                    window = list(islice(lines, _WINDOW))

        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all)
                async for count in sent:
                    await self._read_replies(count, replies)
        return None

    async def _read_replies(self, count: int, replies: list[Reply]) -> None:
        """Read so many more replies.

        Raises:
            LineTooLong: all of them together are too long to be kept.
        """
        at = trio.current_time() + self._limits.reply_timeout
        self.is_answering = False
        await self._lines.wait_begun(trio.current_time() + self.patience)
        self.is_answering = True
        for _ in range(count):
            reply = await self._lines.read_reply(at)
            self._weight += weight_of(reply)
            if self._weight > self._limits.max_reply_bytes:
                raise LineTooLong(f"tracker {self.label}: its answers are too long to be kept")
            replies.append(reply)

    async def _send(self, data: bytes) -> None:
        await self._lines.send(data, trio.current_time() + self._limits.send_timeout)

    def _check_sound(self) -> None:
        if self._broken:
            raise ConnectionLost(f"tracker {self.label}: the connection is closed")

    async def keep_alive(self) -> None:
        """Send a blank line, which counts as activity and is not answered, but by some old trackers.

        Raises:
            NetworkError.
        """
        async with self._turn:
            self._check_sound()
            self._unasked = 0
            await self._send(b"\n")

    async def wait_closed(self) -> str:
        """Wait until the tracker ends the connection, or says too much without being asked.

        Returns: the reason: the tracker's last words, or the network's.

        Cancellation: nothing is lost; the next request goes on.
        """
        last_words = ""
        try:
            while self._unasked < self._limits.max_unasked_lines:
                line = await self._lines.read_line(float("inf"))
                if line is None:
                    return last_words or "it closed the connection"
                self._unasked += 1  # not before it has come: whoever waits here is often cancelled
                last_words = line[4:].decode("utf-8", "replace").strip()
        except (NetworkError, LineTooLong) as error:
            return last_words or str(error)
        return "it talks without being asked"

    def _expect(self, reply: Reply, what: str) -> Reply:
        if not reply.ok:
            raise TrackerRefused(reply.code, f"tracker {self.label} refused {what}: {_text(reply)}")
        return reply

    async def list_files(self, prefix: bytes = b"") -> list[FileEntry]:
        """What there is: LIST, page by page where the tracker has pages.

        Args:
            prefix: only names that begin so, which an old tracker's answer is filtered by here.

        Raises:
            NetworkError, LineTooLong, TrackerRefused.
            TrackerError: there is no end to it.
        """
        listing = Listing(self.label, prefix, self._limits, hello=self.hello)
        with deadline(trio.current_time() + self._limits.listing_timeout, f"tracker {self.label}"):
            async with self._turn:
                self._begin()
                await self._send(listing.first_line())
                is_last = False
                while not is_last:
                    page = await self._read_page()
                    behind = listing.line_behind(page)
                    is_last = behind is None
                    if behind is not None:  # the tracker makes the next page while this one is read
                        await self._send(behind)
                    listing.add(page)
                self._broken = False
        return listing.files()

    async def list_some(self, prefixes: Sequence[bytes], most: int) -> list[bytes]:
        """A few names of those that there are: one page for each prefix, all asked for at once.

        Args:
            prefixes: what the names begin with. A tracker without pages lists all that it has, once for all of them.
            most: how many names a page has.

        Raises:
            NetworkError, LineTooLong.
        """
        has_pages = self.features is not None and b"pages" in self.features
        askable = [prefix for prefix in prefixes if len(prefix) <= self._limits.max_name]
        lines = [list_line(prefix, b"", b"%d" % most) for prefix in askable] if has_pages else [LIST_ALL]
        return listed_names(await self.requests(lines), hello=self.hello)

    async def _read_page(self) -> Reply:
        """Read an answer to LIST. Raises: TrackerRefused, after which nothing more comes."""
        pages: list[Reply] = []
        self._weight = 0
        await self._read_replies(1, pages)
        self._broken = pages[0].ok
        return self._expect(pages[0], "LIST")

    async def list_peers(self) -> list[PeerEntry]:
        """Who is logged in: WHO.

        Raises:
            NetworkError, LineTooLong, TrackerRefused.
        """
        reply = self._expect(await self.request(b"WHO\n"), "WHO")
        return list(parse_entries(reply.data, parse_peer_line, hello=self.hello))

    async def checksum(self, name: bytes) -> bytes:
        """The MD5 that the tracker knows: MD5SUM.

        Returns: 16 bytes.

        Raises:
            NobodyHasIt: it knows none.
            NetworkError, LineTooLong.
        """
        md5 = None
        if self._can_ask(name):
            md5 = md5_of(await self.request(write_request(b"MD5SUM", name)))
        if md5 is None:
            raise NobodyHasIt(f"tracker {self.label} knows no checksum of that name")
        return md5

    def _can_ask(self, name: bytes) -> bool:
        """Whether a name can be anybody's: one too long would end the connection for all the others as well."""
        return 0 < len(name) <= self._limits.max_name

    async def facts(self, names: Sequence[bytes], unlisted: Collection[bytes] = ()) -> list[TrackerFacts]:
        """Who holds each of some files, and what is claimed of them: WANT and MD5SUM, or WANT and STAT after HELLO.

        Args:
            unlisted: of which of them is not known yet whether they stand for several contents: LIST tells.

        Returns: one for each name, in order; without holders where nobody has it.

        Raises:
            NetworkError, LineTooLong.
            TrackerRefused: it does not know WANT: a mail server, for one, which greets as a tracker does.
        """
        about = b"STAT" if self.hello else b"MD5SUM"
        askable = [name for name in dict.fromkeys(names) if self._can_ask(name)]
        lists = set(unlisted) if self.features is not None and b"pages" in self.features else set()
        lines: list[bytes] = []
        for name in askable:
            lines += (write_request(b"WANT", name), write_request(about, name))
            if name in lists:
                lines.append(write_request(b"LIST", attributes={b"prefix": name, b"max": b"1"}))
        answers = await self.requests(lines)
        if not self.hello and answers and all(want.code >= _UNKNOWN for want in answers[::2]):
            self._expect(answers[0], "WANT")
        replies = iter(answers)
        known: dict[bytes, TrackerFacts] = {}
        for name in askable:
            facts = self._facts(next(replies), next(replies))
            known[name] = replace(facts, contents=self._contents(name, next(replies))) if name in lists else facts
        return [known.get(name, TrackerFacts(())) for name in names]

    async def holders(self, name: bytes, b3: bytes) -> list[PeerEntry]:
        """Who holds one content of a name, or a part of it: WANT with b3=; an old tracker tells who has the name.

        Raises:
            NetworkError, LineTooLong.
        """
        if not self._can_ask(name):
            return []
        reply = await self.request(write_request(b"WANT", name, attributes=_named(b3) if self.hello else {}))
        return self._holders(reply)

    def _holders(self, reply: Reply) -> list[PeerEntry]:
        """The holders in an answer to WANT; none where it is a refusal."""
        entries = parse_entries(reply.data if reply.ok else (), parse_peer_line, hello=self.hello)
        holders = islice(entries, self._limits.max_holders)
        if not self.hello:
            return list(holders)
        return [
            entry if b"v" in entry.attributes else replace(entry, attributes={**entry.attributes, b"v": b"1"})
            for entry in holders
        ]

    def _contents(self, name: bytes, page: Reply) -> tuple[ListedContent, ...]:
        """The contents of a name in an answer to LIST."""
        entries = parse_entries(page.data if page.ok else (), parse_file_line, hello=self.hello)
        return listed_contents(name, entries, self.label, self._limits.max_contents_per_name)

    async def holder_counts(self, name: bytes, b3s: Sequence[bytes]) -> dict[bytes, tuple[int, int]]:
        """How many hold each of some contents of a name: all of it, and a part of it.

        Raises:
            NetworkError, LineTooLong.
        """
        if not self.hello or not self._can_ask(name):
            return {}
        stats = await self.requests([write_request(b"STAT", name, attributes=_named(b3)) for b3 in b3s])
        return {b3: counts_of_stat(reply) for b3, reply in zip(b3s, stats, strict=True) if reply.ok}

    async def facts_of(self, name: bytes, b3: bytes) -> TrackerFacts:
        """What is claimed of one content of a name, without its holders; of an old tracker, nothing but the id.

        Raises:
            NetworkError, LineTooLong.
        """
        if not self.hello or not self._can_ask(name):
            return TrackerFacts((), b3=b3)
        stat = await self.request(write_request(b"STAT", name, attributes=_named(b3)))
        return replace(self._facts(Reply(300, b""), stat), b3=b3)

    def _facts(self, want: Reply, about: Reply) -> TrackerFacts:
        """Put together what the answers to WANT, and to STAT or MD5SUM, say."""
        holders = tuple(self._holders(want))
        return facts_of_stat(holders, about) if self.hello else TrackerFacts(holders, md5=md5_of(about))

    async def quit(self) -> None:
        """Say QUIT, so that the tracker forgets us at once; failure does not matter any more."""
        with trio.move_on_after(self._limits.quit_timeout):
            try:
                await self.request(b"QUIT\n")
            except (NetworkError, LineTooLong):
                return

    def close(self) -> None:
        """Close the connection; waits for nothing."""
        self._lines.close()


def _named(b3: bytes) -> dict[bytes, bytes]:
    """The attribute that names a content."""
    return {b"b3": b3.hex().encode()}


def _text(reply: Reply) -> str:
    return f"{reply.code} {reply.text.decode('utf-8', 'replace')}".strip()


@asynccontextmanager
async def open_tracker(network: Network, host: str, port: int, limits: Limits) -> AsyncIterator[TrackerClient]:
    """Connect to a tracker, read its greeting, say HELLO.

    A tracker that ends the connection at HELLO, or says nothing to it, is connected to again and spoken to as in 2007.
    All of that has `connect_timeout` together.

    Raises:
        TrackerUnreachable: no connection, no greeting, or an answer that no tracker gives.
        TrackerRefused: it greets with another code than 2xx.
    """
    client = await connect_tracker(network, host, port, limits)
    try:
        yield client
    finally:
        client.close()


async def connect_tracker(network: Network, host: str, port: int, limits: Limits) -> TrackerClient:
    """As `open_tracker`, but the caller closes the client."""
    label = str(Address(host, port))
    at = trio.current_time() + limits.connect_timeout
    client = await _connect(network, host, port, limits, at)
    try:
        try:
            with deadline(min(at, trio.current_time() + limits.hello_timeout), label):
                await client.say_hello()
        except (ConnectionLost, TimedOut):
            client.close()
            client = await _connect(network, host, port, limits, at)
    except LineTooLong as error:
        client.close()
        raise TrackerUnreachable(f"{_no_tracker(label)}: its answer to HELLO has no end") from error
    except BaseException:
        client.close()
        raise
    return client


async def _connect(network: Network, host: str, port: int, limits: Limits, at: float) -> TrackerClient:
    """Connect to a tracker and read its greeting, by an absolute time.

    Raises:
        TrackerUnreachable, TrackerRefused: as `open_tracker`.
    """
    label = str(Address(host, port))
    try:
        with deadline(at, label):
            connection = await network.connect(host, port)
    except NetworkError as error:
        raise TrackerUnreachable(f"no tracker answers at {label}: {reason_of(error, label)}") from error
    client = TrackerClient(LineConnection(connection, limits), limits, label)
    try:
        await client.read_greeting(at)
    except BaseException as error:
        client.close()
        if isinstance(error, NetworkError | LineTooLong):
            raise TrackerUnreachable(f"{_no_tracker(label)}, or a busy one: it {_GREETINGS[type(error)]}") from error
        raise
    return client


#: What a server does that does not greet as a tracker.
_GREETINGS: dict[type[BaseException], str] = {
    TimedOut: "does not greet in time",
    ConnectionLost: "closes the connection without a greeting",
    LineTooLong: "has a greeting without end",
}


def _no_tracker(label: str) -> str:
    """Begins the sentence about a program that is not what a tracker is."""
    return f"what listens at {label} is no tracker"


def reason_of(error: Exception, label: str) -> str:
    """An error's sentence without the name of the tracker, which the reader knows already."""
    text = str(error)
    for prefix in (f"no tracker answers at {label}: ", f"tracker {label}: ", f"{label}: "):
        text = text.removeprefix(prefix)
    return text
