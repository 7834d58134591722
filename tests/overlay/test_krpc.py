from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import MalformedDatagram
from osp2p.overlay.krpc import Failure, Message, Query, Response, int_of, parse_message, write_message
from osp2p.wire.address import Address

IDS = st.binary(min_size=20, max_size=20)
TRANSACTIONS = st.binary(min_size=1, max_size=8)
ARGUMENTS = st.dictionaries(
    st.binary(max_size=8).filter(lambda key: key != b"id"), st.integers(0, 9) | st.binary(max_size=9), max_size=4
)
ADDRESSES = st.none() | st.builds(Address, st.ip_addresses(v=4).map(str), st.integers(1, 65535))
NETWORKS = st.just(b"") | st.binary(min_size=8, max_size=8)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Query, TRANSACTIONS, st.sampled_from([b"ping", b"find_node"]), IDS, ARGUMENTS, st.booleans(), NETWORKS),
    st.builds(Response, TRANSACTIONS, IDS, ARGUMENTS, ADDRESSES, NETWORKS),
    st.builds(Failure, TRANSACTIONS, st.integers(200, 310), st.binary(max_size=30), ADDRESSES, NETWORKS),
)


@given(MESSAGES)
def test_what_is_written_is_read(message: Message) -> None:
    assert parse_message(write_message(message)) == message


@given(MESSAGES, st.data())
def test_mutations_are_messages_or_malformed(message: Message, data: st.DataObject) -> None:
    raw = bytearray(write_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        parsed = parse_message(bytes(raw))
    except MalformedDatagram:
        return
    assert parse_message(write_message(parsed)) == parsed


@pytest.mark.parametrize(
    ("data", "message"),
    [  # Source: the examples of BEP 5
        (
            b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
            Query(b"aa", b"ping", b"abcdefghij0123456789"),
        ),
        (
            b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
            Response(b"aa", b"mnopqrstuvwxyz123456"),
        ),
        (
            b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
            Query(b"aa", b"find_node", b"abcdefghij0123456789", {b"target": b"mnopqrstuvwxyz123456"}),
        ),
        (
            b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
            Failure(b"aa", 201, b"A Generic Error Ocurred"),
        ),
    ],
)
def test_the_standards_examples(data: bytes, message: Message) -> None:
    assert parse_message(data) == message
    assert write_message(message) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"i1e",
        b"le",
        b"de",
        b"d1:t2:aa1:y1:xe",
        b"d1:t2:aa1:y1:qe",
        b"d1:ad2:id19:abcdefghij012345678e1:q4:ping1:t2:aa1:y1:qe",
        b"d1:ad2:idi1ee1:q4:ping1:t2:aa1:y1:qe",
        b"d1:a0:1:q4:ping1:t2:aa1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:ti1e1:y1:qe",
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t33:" + bytes(33) + b"1:y1:qe",
        b"d1:rde1:t2:aa1:y1:re",
        b"d1:eli201ee1:t2:aa1:y1:ee",
        b"d1:el1:a1:be1:t2:aa1:y1:ee",
        b"d3:neti1e1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(MalformedDatagram):
        parse_message(data)


@pytest.mark.parametrize("ip", [b"i1e", b"0:", b"5:abcde", b"6:\x7f\x00\x00\x01\x00\x00"])
def test_an_address_that_tells_nothing(ip: bytes) -> None:
    parsed = parse_message(b"d2:ip" + ip + b"1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re")
    assert isinstance(parsed, Response)
    assert parsed.claimed_address is None


def test_integers_of_arguments() -> None:
    assert int_of({b"a": 5}, b"a") == 5
    assert int_of({}, b"a", 7) == 7
    with pytest.raises(MalformedDatagram):
        int_of({}, b"a")
    with pytest.raises(MalformedDatagram):
        int_of({b"a": b"5"}, b"a")
