"""Sessions in documents are read as they are meant, and what cannot be meant is said."""

from __future__ import annotations

import pytest

from tests.docs.dialogue import BadDialogue, Reply, raw_text, read_answers, read_sessions

DOCUMENT = """
Text.

```session one tracker
alice$ telnet 127.0.0.1 11111
200 hello
alice> WHO
PEER b 127.0.0.1:2
PEER a 127.0.0.1:1
200 two
```

```sh
$ this is no session
```

```session two holder
$ telnet 127.0.0.1 11112
> GET x OSP2P/2
(chunk 3 arrives)
<
DATA 4
200
```

```session one
alice>
alice> QUIT
```
"""


def test_blocks_of_one_name_are_one_session() -> None:
    one, two = read_sessions(DOCUMENT)
    assert [(step.kind, step.connection, step.text) for step in one.steps] == [
        ("open", "alice", "11111"),
        ("say", "alice", "WHO"),
        ("say", "alice", ""),
        ("say", "alice", "QUIT"),
    ]
    assert [(one.name, one.world), (two.name, two.world)] == [("one", "tracker"), ("two", "holder")]
    assert [step.kind for step in two.steps] == ["open", "say", "arrive", "hear"]
    assert one.steps[1].printed == ["PEER b 127.0.0.1:2", "PEER a 127.0.0.1:1", "200 two"]
    assert DOCUMENT.splitlines()[one.steps[1].at - 1] == "alice> WHO"


@pytest.mark.parametrize(
    "text",
    [
        "```session\n```",
        "```session a\n```",
        "```session a tracker\n```\n```session a tracker\n```",
        "```session a tracker\n",
        "```session a tracker\n200 nobody asked\n```",
        "```session a tracker\n$ rm -r /\n```",
        "```session a tracker\nalice< LIST\n```",
    ],
)
def test_what_cannot_be_meant_is_said(text: str) -> None:
    with pytest.raises(BadDialogue):
        read_sessions(text)


def test_an_answer_is_its_codes_data_and_bytes() -> None:
    lines = ["PEER b x", "PEER a x", "220-a remark", "200 text", "300", "(the connection closes)"]
    assert list(read_answers(lines)) == [Reply("200", ("220",), ("PEER a x", "PEER b x")), Reply("300"), None]


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["hello"], b"hello"),
        (["hel", "o"], b"hel\no"),
        (["hello too long"], b"hello too long\n"),
        (["(5 bytes)"], 5),
        ([], b""),
    ],
)
def test_the_bytes_of_a_file_stand_behind_its_answer(lines: list[str], body: bytes | int) -> None:
    assert next(read_answers(["DATA 5 chunk=1", "200 text", *lines])) == Reply("200", (), ("DATA 5 chunk=1",), body)


def test_a_refusal_has_no_bytes() -> None:
    assert list(read_answers(["DATA 5", "303 x", "200 y"])) == [Reply("303", (), ("DATA 5",)), Reply("200")]


def test_an_answer_without_an_end_is_none() -> None:
    with pytest.raises(BadDialogue):
        list(read_answers(["FILE x"]))


def test_a_file_without_an_answer_around_it() -> None:
    assert raw_text(["a", "b", "(the connection closes)"]) == (b"a\nb\n", True)
    assert raw_text(["(600 bytes)", "(the connection closes)"]) == (600, True)
    assert raw_text(["a"]) == (b"a\n", False)
