"""docs/rpc.md tells the truth: its lesson is done, its vectors and tables are compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from osp2p import errors
from osp2p.overlay.bencode import encode
from osp2p.rpc import connection, document, services, serving
from osp2p.rpc.contact import sign_contact
from osp2p.rpc.document import parse_call, parse_response, write_call, write_result
from osp2p.rpc.identity import Identity
from osp2p.rpc.message import Call, parse_call_words, write_call_line
from osp2p.wire.address import Address
from osp2p.wire.request import parse_words
from tests.docs.lesson import Lesson
from tests.docs.markdown import code, read_document, read_examples, read_table, section

DOCUMENT = read_document("rpc.md")
CALLER = Identity(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
CALLED = Identity(Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))))

VECTORS = section(DOCUMENT, "## Test vectors")


async def test_the_lesson_goes_as_printed(tmp_path: Path) -> None:
    await Lesson(tmp_path, ports=(5000,), peer_ports=(5000,)).run(DOCUMENT)


def test_addresses_follow_from_keys() -> None:
    rows = read_table(VECTORS, "whose", "public key", "address")
    assert [(code(key), code(address)) for _, key, address in rows] == [
        (one.key.hex(), one.address) for one in (CALLER, CALLED)
    ]


def test_the_vectors_are_right() -> None:
    call_document, call_text, result_document, result_text = (text.encode() for text in read_examples(VECTORS))
    assert call_document == write_call("clock.add", [2, 3])
    assert parse_call(call_document) == ("clock.add", [2, 3])
    assert result_document == write_result(5)
    assert parse_response(result_document) == 5
    call = Call(
        method="clock.add",
        to=CALLED.address,
        sender=CALLER.address,
        key=CALLER.key,
        nonce=bytes.fromhex("00112233445566778899aabbccddeeff"),
        time=1_700_000_000_000,
        timeout=30_000,
        length=len(call_document),
    )
    assert call.text(call_document) == call_text
    assert call.result_text(call_text, result_document) == result_text
    record = sign_contact(
        CALLED, [Address("192.0.2.7", 11112), Address("2001:db8::7", 11112)], sequence=1_700_000_000_000
    )
    assert encode(record.value).decode() in DOCUMENT
    signatures = [CALLER.sign(call_text), CALLED.sign(result_text), record.signature]
    assert [code(row[1]) for row in read_table(VECTORS, "signature of", "hex")] == [one.hex() for one in signatures]


def test_the_line_of_a_call_has_the_words_of_the_document() -> None:
    call = Call("clock.add", CALLED.address, CALLER.address, CALLER.key, bytes(16), 1, 2, 3)
    line = write_call_line(call, bytes(64)).decode()
    (told,) = [text for text in read_examples(section(DOCUMENT, "## The wire")) if text.startswith("CALL ")]
    assert re.findall(r" ([a-z]+)=", line) == re.findall(r" ([a-z]+)=", told)
    rows = [code(word) for word, _ in read_table(DOCUMENT, "word", "means")]
    assert rows == ["service", "method", *re.findall(r" ([a-z]+)=", line)]
    words, attributes = parse_words(line.encode().split()[1:], attributes=True)
    assert parse_call_words(words[0], attributes) == (call, bytes(64))
    assert connection.FEATURE.decode() + "ADDRESS\n" in list(read_examples(DOCUMENT))


def test_refusals_are_those_of_the_code() -> None:
    told = {int(row[0]) for row in read_table(DOCUMENT, "refusal", "means", "data line", "then")}
    ours = {
        *(serving.BUSY, serving.NOT_THIS_NODE, serving.BAD_SIGNATURE, serving.REPLAYED),
        *(serving.WRONG_TIME, serving.TOO_LARGE, serving.TOO_LATE),
        *(services.NO_SUCH_SERVICE, services.NO_METHOD, errors.MalformedLine("x").code),
    }
    assert told == ours


def test_faults_are_those_of_the_code() -> None:
    told = {int(code(row[0])) for row in read_table(DOCUMENT, "fault", "over HTTP, beside what the method chose")}
    ours = {value for name, value in vars(document).items() if name.isupper() and isinstance(value, int)}
    assert told == {value for value in ours if value < 0}


def test_errors_are_those_of_the_tree() -> None:
    told = {code(row[0]) for row in read_table(DOCUMENT, "error", "means")}
    assert told == {kind.__name__ for kind in errors.CallError.__subclasses__()}


def test_every_service_has_the_methods_of_the_document() -> None:
    service = services.Service("x", {"f": print}, "1", "ab" * 20)
    assert set(service.methods) - {"f"} == {"ping", "info", "stats"}
