"""The table of verbs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.errors import LocalProtocolError, MalformedLine
from osp2p.wire.request import Request, write_request
from osp2p.wire.table import Verb, VerbTable

Answer = Callable[[], str]


def make_table() -> VerbTable[Answer]:
    table = VerbTable[Answer]()

    @table.verb("HAVE", (1, 2), "HAVE file [md5]", "register a file")
    def have() -> str:
        return "have"

    @table.verb("QUIT", (0, None), "QUIT", "end the connection")
    def quit() -> str:
        return "quit"

    @table.verb("STAT", (1, 1), "STAT file", "what is known of a file", hello=True)
    def stat() -> str:
        return "stat"

    return table


def parse(line: bytes, *, hello: bool = False) -> tuple[str, Request] | None:
    found = make_table().parse(line, hello=hello)
    return None if found is None else (found[0].handler(), found[1])


def test_a_line_finds_its_handler() -> None:
    assert parse(b"have a%20b\r") == ("have", Request(b"HAVE", (b"a b",)))
    assert parse(b"HAVE a b") == ("have", Request(b"HAVE", (b"a", b"b")))
    assert parse(b"Quit all of it") == ("quit", Request(b"QUIT", (b"all", b"of", b"it")))


def test_the_decorator_gives_the_handler_back() -> None:
    table = VerbTable[Answer]()

    def answer() -> str:
        return "x"

    assert table.verb("X", (0, 0), "X", "answers")(answer) is answer


@pytest.mark.parametrize("line", [b"", b"\r", b"  \t"])
def test_a_blank_line_is_no_request(line: bytes) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    "line", [b"HAVE", b"HAVE a b c", b"NOPE", b"STAT a", b"%48AVE a", b"HAVEa", b"\0", b"\xff\xfe"]
)
def test_what_is_malformed_before_hello(line: bytes) -> None:
    with pytest.raises(MalformedLine) as caught:
        parse(line)
    assert caught.value.code == 500


def test_a_wrong_number_of_words_is_told_the_usage() -> None:
    with pytest.raises(MalformedLine, match=r"HAVE file \[md5\]"):
        parse(b"HAVE")


def test_attributes_do_not_count_as_words() -> None:
    assert parse(b"HAVE a size=1 b3=x", hello=True) == ("have", Request(b"HAVE", (b"a",), {b"size": b"1", b"b3": b"x"}))
    with pytest.raises(MalformedLine):
        parse(b"HAVE a size=1 b3=x")
    with pytest.raises(MalformedLine):
        parse(b"HAVE size=1", hello=True)


def test_some_verbs_exist_only_after_hello() -> None:
    assert parse(b"STAT a", hello=True) == ("stat", Request(b"STAT", (b"a",)))


@given(st.binary(), st.booleans())
def test_any_line_is_a_request_or_blank_or_malformed(line: bytes, hello: bool) -> None:
    try:
        found = parse(line, hello=hello)
    except MalformedLine:
        return
    assert (found is None) == (not line.split())


@given(st.lists(st.binary(min_size=1, max_size=10), max_size=5), st.booleans())
def test_what_is_written_is_found(words: list[bytes], hello: bool) -> None:
    assert parse(write_request(b"quit", *words)[:-1], hello=hello) == ("quit", Request(b"QUIT", tuple(words)))


def test_a_row_that_says_nothing_else_is_there_before_hello() -> None:
    table = VerbTable[Answer]()
    table.add(Verb(b"X", (0, 0), "X", "answers", lambda: "x"))
    assert table.parse(b"X", hello=False) is not None


def test_rows_come_in_their_order() -> None:
    assert [verb.name for verb in make_table()] == [b"HAVE", b"QUIT", b"STAT"]
    assert all(verb.usage.startswith(verb.name.decode()) and verb.help for verb in make_table())


@pytest.mark.parametrize("name", [b"HAVE", b"have", b"", b"TWO WORDS", b" X", b"X\n"])
def test_a_verb_that_is_there_already_or_could_never_match_is_our_mistake(name: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        make_table().add(Verb(name, (0, 0), "", "", lambda: ""))


@given(line=st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), hello=st.booleans())
def test_the_fast_path_finds_the_same(line: bytes, hello: bool) -> None:
    table = make_table()
    line = b"HAVE " + line
    try:
        parsed = table.parse(line, hello=hello)
    except MalformedLine as error:
        with pytest.raises(MalformedLine, match=str(error)[:20]):
            table.split(line, hello=hello)
        return
    split = table.split(line, hello=hello)
    assert parsed is not None
    assert split is not None
    assert (split[0], tuple(split[1]), split[2]) == (parsed[0], parsed[1].words, parsed[1].attributes)


def test_a_verb_with_attributes_has_them_before_hello() -> None:
    table = VerbTable[Answer]()
    table.verb("HELLO", (1, 1), "HELLO version", "speak it", attributes=True)(lambda: "hello")
    found = table.split(b"hello X/2 a=%3D", hello=False)
    assert found is not None
    assert (list(found[1]), found[2]) == ([b"X/2"], {b"a": b"="})
    with pytest.raises(MalformedLine):
        table.split(b"HELLO X/2 a=1 a=2", hello=False)


@pytest.mark.parametrize("hello", [False, True])
def test_behind_a_verb_with_any_number_of_words_everything_is_a_word(hello: bool) -> None:
    assert parse(b"QUIT a=1 a=1 %41 =", hello=hello) == ("quit", Request(b"QUIT", (b"a=1", b"a=1", b"A", b"=")))


def test_a_copy_is_added_to_alone() -> None:
    table: VerbTable[str] = VerbTable()
    table.add(Verb(b"ONE", (0, 0), "ONE", "one", "one"))
    other = table.copy()
    other.add(Verb(b"TWO", (0, 0), "TWO", "two", "two"))
    assert [verb.name for verb in table] == [b"ONE"]
    assert [verb.name for verb in other] == [b"ONE", b"TWO"]


def test_a_verb_with_a_body_is_known_by_its_line_readable_or_not() -> None:
    table: VerbTable[str] = VerbTable()
    table.add(Verb(b"CALL", (1, 1), "CALL method", "call", "call", hello=True, body=True))
    table.add(Verb(b"STAT", (1, 1), "STAT file", "tell", "stat"))
    for line in (b"CALL a.b", b" call", b"CALL a b c=1 c=2", b"Call\r"):
        assert table.has_body(line)
    for line in (b"STAT a", b"CALLS a", b"", b"  ", b"\xff"):
        assert not table.has_body(line)
