"""Fuzz targets: the grammar of lines, words, requests and replies."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from osp2p.content.chunk_set import bits_of, ranges_of
from osp2p.errors import LineTooLong, LocalProtocolError, MalformedLine
from osp2p.peer.session import VERBS as PEER_VERBS
from osp2p.tracker.commands import VERBS as TRACKER_VERBS
from osp2p.wire.address import parse_address, parse_port
from osp2p.wire.checksum import check_md5, parse_md5, write_md5
from osp2p.wire.chunk_list import parse_chunk_lines, write_chunk_lines
from osp2p.wire.entry import (
    FileEntry,
    PeerEntry,
    parse_b3,
    parse_file_line,
    parse_number,
    parse_peer_line,
    write_file_line,
    write_peer_line,
)
from osp2p.wire.line import LineBuffer
from osp2p.wire.link import parse_link
from osp2p.wire.ranges import merge_numbers, parse_ranges, write_ranges
from osp2p.wire.reply import ReplyParser, write_reply
from osp2p.wire.request import parse_request, write_request
from osp2p.wire.word import quote, unquote
from tests.fuzz.target import Parameters, target

WORD_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789$-_.+!*'(),")
HEX_DIGITS = b"0123456789abcdefABCDEF"
ATTRIBUTES = (b" size=5", b" b3=", b" part=yes", b" v=2", b" max=", b" wait=", b" since=", b"=", b"%3D", b"%")


@target("wire/line", b"\n", b"\r\n", b"\n\n")
def lines_do_not_depend_on_packets(data: bytes) -> bool:
    """However a stream is cut into packets, its lines are what stands between its LFs, up to the first one over the
    limit. From there on nothing comes out, and `overlong` says so; without one, the rest stays for the next packet.
    """
    parameters = Parameters(data)
    limit = parameters.number(40)
    packets = list(parameters.packets())
    *whole, rest = b"".join(packets).split(b"\n")
    too_long = next((index for index, line in enumerate(whole) if len(line) > limit), None)
    expected = whole[:too_long]
    overlong = too_long is not None or len(rest) > limit

    many = LineBuffer(limit)
    assert [line for packet in packets for line in many.feed_lines(packet)] == expected
    assert many.overlong == overlong
    assert overlong or len(many) == len(rest)

    single, found = LineBuffer(limit), []
    try:
        for packet in packets:
            single.feed(packet)
            while (line := single.next_line()) is not None:
                found.append(line)
    except LineTooLong:
        assert overlong
    assert found == expected
    assert single.overlong == overlong
    return bool(expected)


@target("wire/line-and-body", b"\n", b"200 x\n")
def bodies_between_lines(data: bytes) -> bool:
    """Lines and raw bytes, read in any order, are the stream from its first byte to its last: none twice, none lost."""
    parameters = Parameters(data)
    plan = [parameters.number(8) for _ in range(4)]
    packets = list(parameters.packets())
    stream = b"".join(packets)
    buffer, position = LineBuffer(len(stream)), 0
    for packet in packets:
        buffer.feed(packet)
        for step in plan:
            if step == 0:
                line = buffer.next_line()
                taken = b"" if line is None else line + b"\n"
            else:
                taken = buffer.take(step)
                assert len(taken) <= step
            assert stream.startswith(taken, position)
            position += len(taken)
    assert buffer.take(len(stream)) == stream[position:]
    assert len(buffer) == 0
    return b"\n" in stream


@target("wire/word", b"%41", b"%zz", b"%", b"%25", b"\0", b"=")
def words_come_back(data: bytes) -> bool:
    """Any raw bytes but none at all are one word of harmless bytes, which means them again. Any word means the bytes
    that the grammar says: each ``%XX`` is one, everything else is itself.
    """
    expected = bytearray()
    index = 0
    while index < len(data):
        if data[index] == ord("%") and len(data) >= index + 3 and all(c in HEX_DIGITS for c in data[index + 1 :][:2]):
            expected.append(int(data[index + 1 : index + 3], 16))
            index += 3
        else:
            expected.append(data[index])
            index += 1
    assert unquote(data) == bytes(expected)
    if not data:
        return False
    word = quote(data)
    assert unquote(word) == data
    assert WORD_BYTES.issuperset(re.sub(rb"%[0-9A-F]{2}", b"", word))
    return True


@target("wire/address", b"127.0.0.1:1", b"[::1]:", b"::ffff:", b"0.0.0.0", b":65535", b"%eth0", b"[", b"]")
def addresses_are_canonical(data: bytes) -> bool:
    """What is read is an address that can be connected to, in one form; writing it and reading it again changes
    nothing. IPv6 is read only where it is allowed, and never hides an IPv4 address.
    """
    with suppress(MalformedLine):
        assert 0 < parse_port(data) < 65536
    try:
        address = parse_address(data, ipv6=True)
    except MalformedLine as error:
        if error.code != 300:
            raise
        return False
    ip = ipaddress.ip_address(address.host)
    assert str(ip) == address.host
    assert not ip.is_unspecified
    assert 0 < address.port < 65536
    assert parse_address(str(address).encode(), ipv6=True) == address
    assert address.is_ipv6 == (ip.version == 6)
    assert address.is_loopback == ip.is_loopback
    if isinstance(ip, ipaddress.IPv6Address):
        assert ip.ipv4_mapped is None
        with suppress(MalformedLine):
            parse_address(data)
            raise AssertionError("IPv6 was read where it is not allowed")
    return True


@target("wire/checksum", b"u3bJz@iaYsq6aMaMSJVq_b", b"@", b"_", b"d")
def checksums_are_digests(data: bytes) -> bool:
    """Every digest is one text of 22 characters and comes back from it; every text that is read is that of a digest."""
    digest = data[:16].ljust(16, b"\0")
    assert parse_md5(write_md5(digest)) == digest
    try:
        read = parse_md5(data)
    except MalformedLine:
        return False
    assert check_md5(data) == data
    assert write_md5(read) == data
    return True


@target("wire/number", b"0", b"9223372036854775807", b"-", b"+", b"_", "٣".encode(), b"\0")
def numbers_are_bounded(data: bytes) -> bool:
    """A number is digits, no more of them than the largest value has, and at most that value. A b3 is 64 lower-case
    hex digits, and is written back as they stood.
    """
    parameters = Parameters(data)
    maximum = 10 ** parameters.number(20) - 1
    text = parameters.rest
    with suppress(MalformedLine):
        assert parse_b3(text).hex().encode() == text
    right = re.fullmatch(rb"[0-9]+", text) is not None and len(text) <= len(str(maximum)) and int(text) <= maximum
    try:
        number = parse_number(text, maximum)
    except MalformedLine:
        assert not right
        return False
    assert right
    assert number == int(text)
    return True


@target("wire/peer-line", b"PEER ", b" 127.0.0.1:1", b" [::1]:2", *ATTRIBUTES)
def peer_lines_come_back(data: bytes) -> bool:
    """A PEER line is read as one alias, one address and, behind HELLO, attributes, or refused. Written again, it means
    the same.
    """
    understood = False
    for hello in (False, True):
        try:
            entry = parse_peer_line(data, hello=hello)
        except MalformedLine:
            continue
        understood = True
        assert entry.alias
        assert hello or (not entry.attributes and not entry.address.is_ipv6)
        line = write_peer_line(entry)
        assert b"\n" not in line
        assert parse_peer_line(line, hello=True) == PeerEntry(entry.alias, entry.address, dict(entry.attributes))
    return understood


@target("wire/file-line", b"FILE ", *ATTRIBUTES)
def file_lines_come_back(data: bytes) -> bool:
    """A FILE line is read as one name and, behind HELLO, attributes, or refused. Written again, it means the same."""
    understood = False
    for hello in (False, True):
        try:
            entry = parse_file_line(data, hello=hello)
        except MalformedLine:
            continue
        understood = True
        assert entry.name
        assert hello or not entry.attributes
        line = write_file_line(entry)
        assert b"\n" not in line
        assert parse_file_line(line, hello=True) == FileEntry(entry.name, dict(entry.attributes))
    return understood


@target("wire/link", b"osp2p://", b"#b3=", b"%2F", b"[::1]", b":", b"/", b"a" * 64)
def links_come_back(data: bytes) -> bool:
    """A link that is read names a tracker and a port, or neither, a name and 32 bytes, and the link that is written of
    them means the same. What a shell would change is not in it.
    """
    try:
        link = parse_link(data.decode("latin-1"))
    except MalformedLine:
        return False
    assert link.name
    assert 0 < link.port < 65536 if link.host else link.port == 0
    assert len(link.b3) == 32
    text = str(link)
    assert parse_link(text) == link
    if re.fullmatch(r"[A-Za-z0-9.-]*", link.host):
        assert re.fullmatch(r"[A-Za-z0-9/._+,:%#=-]+", text)
    return True


@target("wire/ranges", b"0-9", b",", b"-", b"1,3-5", b"16383", b"0")
def ranges_are_sets(data: bytes) -> bool:
    """A word of ranges is an ascending set of existing chunk numbers. It is the same set as bits, as numbers, and when
    it is written again in words of any length.
    """
    parameters = Parameters(data)
    maximum = parameters.number(300)
    width = 1 + parameters.number(40)
    try:
        ranges = parse_ranges(parameters.rest, maximum, 50)
    except MalformedLine:
        return False
    numbers = [number for first, last in ranges for number in range(first, last + 1)]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 0
    assert numbers[-1] <= maximum
    assert len(ranges) <= 50
    merged = list(merge_numbers(numbers))
    assert list(ranges_of(bits_of(ranges))) == merged
    words = list(write_ranges(merged, width))
    assert [pair for word in words for pair in parse_ranges(word, maximum, 50)] == merged
    assert all(len(word) <= width or b"," not in word for word in words)
    return True


@target("wire/chunk-list", b"CHUNK 0 ", b"\nCHUNK 1 ", b"0" * 64, b"a" * 63, b"f" * 32, b" ", b"A", b"\r\n", b"\t")
def chunk_lists_come_back(data: bytes) -> bool:
    """Lines are a chunk list if each has its word, its index and 64 digits, with any white space around them; else they
    are refused. Written again, they mean the same.
    """
    lines = data.split(b"\n")
    sound = all(re.fullmatch(rb"\s*CHUNK\s+%d\s+[0-9a-f]{64}\s*" % number, line) for number, line in enumerate(lines))
    try:
        hashes = parse_chunk_lines(lines)
    except MalformedLine:
        assert not sound
        return False
    assert sound
    assert hashes == b"".join(bytes.fromhex(line.split()[2].decode()) for line in lines)
    assert parse_chunk_lines(write_chunk_lines(hashes, 0)) == hashes
    return True


@target("wire/reply", b"200 ", b"200-", b"500", b"\n", b"\r\n", b"DATA 5", b"200\n", b"300 x\n")
def replies_are_whole(data: bytes) -> bool:
    """Every line that is not blank goes into exactly one reply, or waits for its terminator, until a limit is passed. A
    reply that is written of what was read is read as the same.
    """
    parser = ReplyParser(max_lines=12, max_bytes=200)
    *lines, _ = data.split(b"\n")
    waiting: list[bytes] = []
    understood = False
    for line in lines:
        waiting.append(line)
        try:
            reply = parser.feed_line(line)
        except LineTooLong:
            assert len(waiting) > 12 or sum(map(len, waiting)) > 200
            return understood
        assert len(waiting) <= 12
        if reply is None:
            continue
        understood = True
        assert len(reply.data) + len(reply.context) + 1 == sum(bool(part.strip()) for part in waiting)
        assert 0 <= reply.code <= 999
        assert waiting[-1].startswith(b"%03d" % reply.code)
        if reply.code >= 100 and all(code >= 100 for code, _ in reply.context):
            again = ReplyParser(100, 10_000)
            written = write_reply(reply.code, reply.text, reply.data, reply.context).split(b"\n")
            assert written.pop() == b""
            replies = [again.feed_line(part) for part in written]
            assert replies[-1] == reply
            assert not any(replies[:-1])
        waiting.clear()
    return understood


@target("wire/reply-line", b"200 ok", b"PEER a 1.2.3.4:5", b"\n", b"200-")
def no_text_passes_for_a_reply(data: bytes) -> bool:
    """Whatever stands in the text, in a remark or in a data line behind its keyword, a reply that is written is read as
    that one reply; or writing it is refused.
    """
    try:
        written = write_reply(220, data, [b"FILE " + data], [(200, data)])
    except LocalProtocolError:
        assert b"\n" in data
        return False
    parser = ReplyParser(3, 10_000)
    *lines, last = written.split(b"\n")
    assert last == b""
    replies = [parser.feed_line(line) for line in lines]
    assert replies[:2] == [None, None]
    reply = replies[2]
    assert reply is not None
    text = data.rstrip(b"\r")
    assert (reply.code, reply.text, reply.context) == (220, text, ((200, text),))
    return True


@target("wire/request", b"HAVE ", b"WANT ", b"HELLO OSP2P/2", b" \t", *ATTRIBUTES)
def requests_come_back(data: bytes) -> bool:
    """A line without LF is blank, refused, or a request; and the request that is written of it is read as the same."""
    line = data.replace(b"\n", b"")
    understood = False
    for attributes in (False, True):
        try:
            request = parse_request(line, attributes=attributes)
        except MalformedLine:
            assert attributes
            continue
        if request is None:
            assert not line.split()
            continue
        assert all(request.words)
        if not attributes:
            assert len(request.words) == len(line.split()) - 1
        written = write_request(request.verb, *request.words, attributes=request.attributes)
        assert written.endswith(b"\n")
        assert written.count(b"\n") == 1
        again = parse_request(written[:-1], attributes=attributes or bool(request.attributes))
        assert again == request
        understood = True
    return understood


@target("wire/table", *(verb.name for table in (TRACKER_VERBS, PEER_VERBS) for verb in table), *ATTRIBUTES)
def a_verb_gets_what_it_asked_for(data: bytes) -> bool:
    """A line is blank, refused, or meant for one verb: with as many words as the table says, with attributes only where
    it takes some, and never a verb of OSP2P/2 before HELLO. The two ways of reading it agree.
    """
    understood = False
    for table in (TRACKER_VERBS, PEER_VERBS):
        for hello in (False, True):
            try:
                found = table.split(data, hello=hello)
            except MalformedLine as error:
                if error.code != 500:
                    raise
                continue
            if found is None:
                assert not data.split()
                assert table.parse(data, hello=hello) is None
                continue
            verb, words, attributes = found
            fewest, most = verb.words
            assert data.split()[0].upper() == verb.name
            assert len(words) >= fewest
            assert most is None or len(words) <= most
            assert hello or not verb.hello
            assert hello or verb.attributes or not attributes
            again = table.parse(data, hello=hello)
            assert again is not None
            assert again[0] is verb
            assert (again[1].words, dict(again[1].attributes)) == (tuple(words), dict(attributes))
            understood = True
    return understood
