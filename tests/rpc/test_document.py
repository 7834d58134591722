"""Documents of calls: what travels arrives as it was, and what does not is refused on both sides."""

from __future__ import annotations

import contextlib
import math
import time
import xmlrpc.client
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import Fault, LocalProtocolError, MalformedDocument
from osp2p.rpc.document import (
    FAILED,
    MAX_DEPTH,
    MAX_FAULT_TEXT,
    Value,
    parse_call,
    parse_response,
    write_call,
    write_fault,
    write_result,
)

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), st.sampled_from("\t\n\r")
    )
)
DATES = st.datetimes().map(lambda date: date.replace(microsecond=0))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.binary(),
    DATES,
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


def wrap(value: str) -> bytes:
    return f"<methodResponse><params><param>{value}</param></params></methodResponse>".encode()


@given(st.lists(VALUES, max_size=4))
def test_arguments_arrive_as_they_were(arguments: list[Value]) -> None:
    assert parse_call(write_call("clock.now", arguments)) == ("clock.now", arguments)


@given(VALUES)
def test_results_arrive_as_they_were(value: Value) -> None:
    back = parse_response(write_result(value))
    assert back == value
    assert type(back) is type(value)


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.text())
def test_faults_arrive(code: int, text: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_response(write_fault(Fault(code, text)))
    assert caught.value.code == code
    assert len(caught.value.text) == min(len(text), MAX_FAULT_TEXT)


def test_a_fault_of_a_number_that_cannot_travel_has_another_code() -> None:
    with pytest.raises(Fault) as caught:
        parse_response(write_fault(Fault(1 << 40, "x")))
    assert caught.value.code == FAILED


@given(st.lists(st.one_of(TEXTS, st.integers(-(1 << 31), (1 << 31) - 1), st.binary(), DATES), max_size=3))
def test_the_standard_library_reads_what_is_written(arguments: list[Any]) -> None:
    back, method = xmlrpc.client.loads(write_call("clock.now", arguments), use_builtin_types=True)
    assert (method, list(back)) == ("clock.now", arguments)


@given(st.lists(st.one_of(st.text("abc<&>"), st.integers(-(1 << 31), (1 << 31) - 1), st.binary(), st.booleans())))
def test_what_the_standard_library_writes_is_read(arguments: list[Any]) -> None:
    text = xmlrpc.client.dumps(tuple(arguments), "clock.now", allow_none=True)
    assert parse_call(text.encode()) == ("clock.now", arguments)


class Thing:
    secret = 1


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        1 << 63,
        math.nan,
        -math.inf,
        "a\0b",
        "\ud800",
        "\uffff",
        {"\0": 1},
        {1: 2},
        Thing(),
        Decimal(1),
        {1, 2},
        datetime(2026, 1, 2, microsecond=5),
        datetime(2026, 1, 2, tzinfo=UTC),
        xmlrpc.client.DateTime(0),
        nested(MAX_DEPTH + 1),
        object,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_travel_is_not_sent(value: Any) -> None:
    with pytest.raises(LocalProtocolError):
        write_result(value)
    with pytest.raises(LocalProtocolError):
        write_call("a.b", [value])


def test_a_value_in_itself_is_not_sent() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(LocalProtocolError):
        write_result(value)


def test_values_lie_as_deep_as_is_said() -> None:
    assert parse_response(write_result(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    struct: Any = {}
    for _ in range(MAX_DEPTH - 1):
        struct = {"a": struct}
    assert parse_response(write_result(struct)) == struct


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"hello",
        b"<methodCall/>",
        b"<methodCall><params/></methodCall>",
        b"<methodCall><methodName>a.b</methodName><methodName>a.c</methodName></methodCall>",
        b"<methodCall><methodName>a.b</methodName><params/><params/></methodCall>",
        b"<methodCall><methodName><value>a</value></methodName></methodCall>",
        b"<methodCall><methodName>a.b</methodName><params><value>1</value></params></methodCall>",
        b"<methodCall><methodName>a.b</methodName><params><param/></params></methodCall>",
        b"<methodCall><methodName>a.b</methodName></methodCall><more/>",
        b"<?xml version='1.0' encoding='no-such-thing'?><methodCall><methodName>a.b</methodName></methodCall>",
        write_result(1),
    ],
)
def test_what_is_no_call_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedDocument):
        parse_call(document)


@pytest.mark.parametrize(
    "value",
    [
        "<value><int>1</int><int>2</int></value>",
        "<value><int>1_0</int></value>",
        "<value><int>\u0661</int></value>",
        "<value><int>9223372036854775808</int></value>",
        "<value><int></int></value>",
        f"<value><int>{'9' * 5000}</int></value>",
        "<value><double>nan</double></value>",
        "<value><double>1e999</double></value>",
        "<value><double>inf</double></value>",
        "<value><double>.</double></value>",
        "<value><boolean>2</boolean></value>",
        "<value><bigdecimal>1e999999999</bigdecimal></value>",
        "<value><biginteger>5</biginteger></value>",
        "<value><base64>*</base64></value>",
        "<value><base64>abc</base64></value>",
        "<value><dateTime.iso8601>yesterday</dateTime.iso8601></value>",
        "<value><array></array></value>",
        "<value><array><value>1</value></array></value>",
        "<value><struct><member><name>a</name></member></struct></value>",
        "<value><struct><member><value>1</value><name>a</name></member></struct></value>",
        "<value><struct><member><name>a</name><value>1</value><value>2</value></member></struct></value>",
        "<value><struct><member><name>a</name><value/></member><member><name>a</name><value/></member></struct></value>",
        "<value><string><int>1</int></string></value>",
        "<value><value>1</value></value>",
        "<value>" + "<array><data><value>" * (MAX_DEPTH + 1) + "</value></data></array>" * (MAX_DEPTH + 1) + "</value>",
        "",
        "<value>1</value></param><param><value>2</value>",
    ],
)
def test_what_is_no_value_is_refused(value: str) -> None:
    with pytest.raises(MalformedDocument):
        parse_response(wrap(value))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("<value>plain</value>", "plain"),
        ("<value></value>", ""),
        ("<value><string/></value>", ""),
        ("<value> <i4> -7 </i4> </value>", -7),
        ("<value><i8>9223372036854775807</i8></value>", (1 << 63) - 1),
        ("<value><double>-12.53</double></value>", -12.53),
        ("<value><double>.5</double></value>", 0.5),
        ("<value><ex:nil xmlns:ex='http://ws.apache.org/xmlrpc/namespaces/extensions'/></value>", None),
        ("<value><array><data/></array></value>", []),
        ("<value><struct/></value>", {}),
        ("<value><base64>eW91IGNhbid0</base64></value>", b"you can't"),
        ("<value><dateTime.iso8601>19980717T14:08:55</dateTime.iso8601></value>", datetime(1998, 7, 17, 14, 8, 55)),
    ],
)
def test_what_others_write_is_read(value: str, read: Value) -> None:
    assert parse_response(wrap(value)) == read


@pytest.mark.parametrize(
    "fault",
    [
        "<value>1</value>",
        "<value><struct/></value>",
        "<value><struct><member><name>faultCode</name><value>1</value></member></struct></value>",
    ],
)
def test_what_is_no_fault_is_refused(fault: str) -> None:
    with pytest.raises(MalformedDocument):
        parse_response(f"<methodResponse><fault>{fault}</fault></methodResponse>".encode())


@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd">',
        "<!DOCTYPE a>",
    ],
)
def test_documents_define_nothing(prologue: str) -> None:
    body = "<methodCall><methodName>a.b</methodName><params><param><value>&b;</value></param></params></methodCall>"
    with pytest.raises(MalformedDocument):
        parse_call(f"<?xml version='1.0'?>{prologue}{body}".encode())


def test_text_before_many_ends_is_not_read_again_at_each() -> None:
    """The library's own reader takes a time that grows with the text times the depth."""
    depth = MAX_DEPTH - 2
    text = "a\n" * 250_000
    value = "<array><data><value>" * depth + text + "</value></data></array>" * depth
    began = time.process_time()
    parse_response(wrap(f"<value>{value}</value>"))
    assert time.process_time() - began < 2


@given(st.binary(max_size=300))
def test_bytes_are_read_or_refused(document: bytes) -> None:
    for read in (parse_response, parse_call):
        with contextlib.suppress(MalformedDocument, Fault):
            read(document)


@given(VALUES, st.data())
def test_a_damaged_document_is_read_or_refused(value: Value, data: st.DataObject) -> None:
    document = bytearray(write_result(value))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    with contextlib.suppress(MalformedDocument, Fault):
        parse_response(bytes(document))
