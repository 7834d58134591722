"""Fuzz targets: transcripts, and the lines and documents of calls."""

from __future__ import annotations

from osp2p.errors import Fault, LineTooLong, LocalProtocolError, MalformedDocument, MalformedLine
from osp2p.grade.transcript import Scribe, Way, escape_text, parse_entry, parse_transcript, unescape_text, write_entry
from osp2p.rpc.document import parse_call, parse_response, write_call, write_result
from osp2p.rpc.message import parse_call_words, parse_result_words, write_call_line, write_result_line
from osp2p.wire.body import BodyParser
from osp2p.wire.reply import Reply, ReplyParser
from osp2p.wire.request import parse_request
from tests.fuzz.target import Parameters, target

HEX = b"0123456789abcdef"


@target(
    "grade/entry",
    b"0.5 1 ",
    b"< ",
    b"> ",
    b"<~ ",
    b">= 5 sha256:" + b"a" * 64,
    b"close",
    b"accept h:1",
    b"\\x0a",
    b"\\\\",
)
def entries_come_back(data: bytes) -> bool:
    """A line of a transcript is a remark, refused, or an entry; and the line that is written of it is read as the same.
    Any bytes are a text that means them again.
    """
    assert unescape_text(escape_text(data)) == data
    assert escape_text(data).isascii()
    assert "\n" not in escape_text(data)
    try:
        entry = parse_entry(data.decode("latin-1").replace("\n", ""))
    except MalformedLine:
        return False
    if entry is None:
        return False
    written = write_entry(entry)
    assert "\n" not in written
    again = parse_entry(written)
    assert again is not None
    assert abs(again.seconds - entry.seconds) <= 1e-6 * max(1.0, entry.seconds)
    assert write_entry(again) == written
    return True


@target(
    "grade/scribe",
    b"HELLO OSP2P/2\n",
    b"GET f OSP2P\n",
    b"DATA 5\n200 x\n",
    b"200 ok\n",
    b"\xff\xff",
    b"x" * 300,
    share=0.1,
    max_length=9000,
)
def transcripts_are_whole(data: bytes) -> bool:
    """However what is said on a connection is cut into packets, its transcript can be read again, and accounts for
    every byte of both directions: as lines, as the beginning of one, or in the size of a body.

    In the input, two bytes 255 turn to the other direction.
    """
    parameters = Parameters(data)
    packet = 1 + parameters.number(30)
    scribe = Scribe(1, "accept" if parameters.number(2) else "connect", "10.0.0.1:5")
    entries = [scribe.opened(0.0)]
    sizes: dict[Way, int] = {"<": 0, ">": 0}
    for number, part in enumerate(parameters.rest.split(b"\xff\xff")):
        way: Way = "<" if number % 2 else ">"
        for start in range(0, len(part), packet):
            piece = part[start : start + packet]
            entries += scribe.moved(way, piece, number / 8)
            sizes[way] += len(piece)
    entries += scribe.closed(99.0)
    assert parse_transcript(map(write_entry, entries)) == entries
    for way, size in sizes.items():
        mine = [entry for entry in entries if entry.way == way]
        assert sum(len(entry.data) + (entry.kind == way) + entry.size for entry in mine) == size
    return len(entries) > 2


@target(
    "rpc/lines",
    b"CALL s.m",
    b" to=",
    b" from=",
    b" key=",
    b" id=",
    b" sig=",
    b" time=5",
    b" length=0",
    HEX * 4,
    HEX * 8,
)
def call_lines_have_one_form(data: bytes) -> bool:
    """The line of a call, and that of a result, is refused, or says everything that is signed; and the line that is
    written of it is read as the same.
    """
    try:
        request = parse_request(data.replace(b"\n", b""), attributes=True)
    except MalformedLine:
        return False
    if request is None or len(request.words) != 1:
        return False
    understood = False
    try:
        call, signature = parse_call_words(request.words[0], request.attributes)
        written = parse_request(write_call_line(call, signature).rstrip(b"\n"), attributes=True)
        assert written is not None
        assert parse_call_words(written.words[0], written.attributes) == (call, signature)
        assert call.text(b"x").count(b"\n") == 9
        understood = True
    except MalformedLine:
        understood = False
    try:
        length, key, signature = parse_result_words(request.words[0], request.attributes)
        written = parse_request(write_result_line(length, key, signature), attributes=True)
        assert written is not None
        assert parse_result_words(written.words[0], written.attributes) == (length, key, signature)
        understood = True
    except MalformedLine:
        return understood
    return understood


@target(
    "rpc/document",
    *(
        b"<methodCall>",
        b"<methodName>s.m</methodName>",
        b"<params>",
        b"<param><value>",
        b"</value></param>",
        b"</params>",
    ),
    *(b"<int>5</int>", b"<i8>-9</i8>", b"<double>1e5</double>", b"<nil/>", b"<base64>YQ==</base64>", b"<string>&#13;"),
    *(
        b"<struct><member><name>a</name><value>",
        b"<array><data><value>",
        b"<dateTime.iso8601>19980717T14:08:55",
        b"&amp;",
    ),
    *(b"<!DOCTYPE", b"<?xml version='1.0' encoding='", b"<boolean>1</boolean>", b"<fault>", b"<methodResponse>"),
    share=0.3,
    max_length=900,
)
def documents_come_back(data: bytes) -> bool:
    """A document is refused, or a call, a result or a fault. What it holds can be written again, and is read as the
    same.
    """
    understood = False
    try:
        method, arguments = parse_call(data)
        assert isinstance(method, str)
        assert parse_call(write_call("s.m", arguments)) == ("s.m", arguments)
        understood = True
    except MalformedDocument:
        understood = False
    except LocalProtocolError as error:
        raise AssertionError("what was read cannot be written") from error
    try:
        value = parse_response(data)
        assert parse_response(write_result(value)) == value
    except Fault:
        return True
    except MalformedDocument:
        return understood
    return True


@target(
    "wire/body", b"DATA 5\n200 x\nhello", b"DATA 5\n", b"200 x\n", b"300 no\n", b"\r\n", b"DATA 5 new=1\n", share=0.3
)
def bodies_do_not_depend_on_packets(data: bytes) -> bool:
    """However the answers to many requests are cut into packets, they are the bodies and refusals that reading line by
    line gives: each body has the length that was asked for, and comes from its place in the stream.
    """
    parameters = Parameters(data)
    length = 1 + parameters.number(12)
    packets = list(parameters.packets())
    expected = slow_answers(b"".join(packets), length)
    parser = BodyParser(16, max_line=250, max_lines=6, max_bytes=500)
    found: list[bytes | Reply] = []
    error = False
    for packet in packets:
        parser.space()[: len(packet)] = packet
        parser.received(len(packet))
        try:
            while (answer := parser.next(length)) is not None:
                found.append(answer if isinstance(answer, Reply) else bytes(answer))
        except (MalformedLine, LineTooLong):
            error = True
            break
    assert found == expected[: len(found)]
    assert error or found == [answer for answer in expected if answer is not None]
    assert not error or expected[len(found)] is None
    return bool(found)


def slow_answers(stream: bytes, length: int) -> list[bytes | Reply | None]:
    """What the answers are, line by line; None at the end for what is no answer."""
    answers: list[bytes | Reply | None] = []
    parser = ReplyParser(6, 500)
    while True:
        line, end, rest = stream.partition(b"\n")
        if len(line) > 250:
            return [*answers, None]
        if not end:
            return answers
        stream = rest
        try:
            reply = parser.feed_line(line)
        except LineTooLong:
            return [*answers, None]
        if reply is None:
            continue
        if not reply.ok:
            answers.append(reply)
            continue
        words = reply.data[0].split() if reply.data else []
        if len(words) < 2 or words[0] != b"DATA" or not words[1].isdigit() or int(words[1]) != length:
            return [*answers, None]
        if len(stream) < length:
            return answers
        answers.append(stream[:length])
        stream = stream[length:]
