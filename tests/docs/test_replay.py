"""The replayer notices whatever a document tells wrongly, and records what is right."""

from __future__ import annotations

import re

import pytest

from tests.docs.dialogue import read_sessions
from tests.docs.replay import differences, record

TRUE = """\
```session a node
alice$ telnet 127.0.0.1 11111
200-x
200 x
alice>
alice> WHO
PEER carol 127.0.0.1:11112
200 x
alice> MD5SUM notes.txt
ImmA7Kqq2mCodgPRXj7dea
200 x
peer$ telnet 127.0.0.1 11112
peer> HELLO OSP2P/2
FEATURE content b3
FEATURE range
FEATURE any
FEATURE held
200 x
peer> GET notes.txt OSP2P/2 range=0-4
DATA 5
200 x
hello
peer> GET missing.txt OSP2P/2
300 x
base$ telnet 127.0.0.1 11112
base> GET notes.txt OSP2P
hello, world
(the connection closes)
ear$ nc -l 11113
bob$ telnet 127.0.0.1 11111
200-x
200 x
bob> ADDR bob 127.0.0.1:11113
200 x
bob> NOTIFY
200 x
alice> ADDR alice 127.0.0.1:4001
200 x
ear<
NOTIFY alice 127.0.0.1:4001 OSP2P
(the connection closes)
alice> Q
200 x
(the connection closes)
```
"""


async def played(document: str) -> list[str]:
    (session,) = read_sessions(document)
    return await differences(session, patience=2)


async def test_the_truth_is_accepted() -> None:
    assert await played(TRUE) == []


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("PEER carol 127.0.0.1:11112\n", ""),
        ("127.0.0.1:11112\n200 x", "127.0.0.1:11113\n200 x"),
        ("PEER carol 127.0.0.1:11112\n", "PEER carol 127.0.0.1:11112\nPEER eve 127.0.0.1:5\n"),
        ("\n300 x", "\n302 x"),
        ("200-x\n200 x\nalice>\n", "200 x\nalice>\n"),
        ("200 x\nhello\n", "200 x\nhullo\n"),
        ("hello, world\n", "hello, word\n"),
        ("hello, world\n", "(12 bytes)\n"),
        ("NOTIFY alice", "NOTIFY eve"),
        ("alice> Q\n200 x\n(the connection closes)\n", "alice> Q\n"),
        ("alice> Q\n200 x\n(the connection closes)\n", "alice> LIST\n(the connection closes)\n"),
    ],
)
async def test_what_is_told_wrongly_is_noticed(true: str, false: str) -> None:
    assert TRUE.count(true) == 1
    assert len(await played(TRUE.replace(true, false))) >= 1


async def test_texts_for_people_may_differ() -> None:
    assert await played(TRUE.replace("200 x", "200 something else").replace("200-x", "200-y")) == []


SMALL = """\
before

```session a holder
peer$ telnet 127.0.0.1 11112
peer> HELLO OSP2P/2
FEATURE content b3
FEATURE range
FEATURE any
FEATURE held
200 x
peer> GET notes.txt OSP2P/2 range=0-4
DATA 5
200 x
hello
base$ telnet 127.0.0.1 11112
base> GET notes.txt OSP2P
hello, world
(the connection closes)
big$ telnet 127.0.0.1 11112
big> GET photos%2Fred%20cat.jpg OSP2P
(600000 bytes)
(the connection closes)
```

behind
"""


async def test_the_recorder_writes_what_was_said() -> None:
    heard = re.compile(r"^([A-Z0-9(]|hello).*\n", re.MULTILINE)
    recorded = await record(heard.sub("", SMALL), silence=0.5)
    assert re.sub(r"^200 .*", "200 x", recorded, flags=re.MULTILINE) == SMALL
    assert await played(recorded[len("before\n\n") :]) == []
