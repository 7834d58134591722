"""A lesson in a document is done as it stands there, and what it tells wrongly is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.lesson import Lesson, Untrue, plain, read_blocks, read_terminal, stays

TRUE = """
```sh
this is for readers
```

```python greet.py
import sys, time
print("hello", sys.argv[1], flush=True)
time.sleep(float(sys.argv[2]))
```

```terminal one
$ mkdir here
$ python greet.py 5000 0 && false
hello 5000
$ echo $?
1
$ python greet.py 'port 5000' 60
hello port 5000
```

```terminal two
$ ls
greet.py
here
```

```terminal one
^C
$ echo bye
bye
```
"""


async def test_what_is_true_is_done(tmp_path: Path) -> None:
    await Lesson(tmp_path, ports=(5000,), peer_ports=()).run(TRUE)
    assert (tmp_path / "lesson" / "here").is_dir()


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("greet.py\nhere", "greet.py"),
        ("\n1\n", "\n0\n"),
        ("hello 5000\n", "hello 5001\n"),
        ("hello port 5000\n", "hullo\n"),
        ("bye\nbye", "bye\nbyebye"),
    ],
)
async def test_what_is_false_is_noticed(true: str, false: str, tmp_path: Path) -> None:
    assert TRUE.count(true) == 1
    with pytest.RaisesGroup(Untrue, flatten_subgroups=True):
        await Lesson(tmp_path, ports=(5000,), peer_ports=()).run(TRUE.replace(true, false))


async def test_a_session_is_compared(tmp_path: Path) -> None:
    true = """
```terminal tracker
$ osp2p tracker --port 5000
tracker listens on port 5000: 192.0.2.7:5000
```

```session a here
$ telnet 127.0.0.1 5000
200-hello
200 hello
```

```session a
> DONTHAVE x
220 nothing
```

```terminal tracker
^C
```
"""
    (tmp_path / "true").mkdir()
    (tmp_path / "false").mkdir()
    await Lesson(tmp_path / "true", ports=(5000,), peer_ports=()).run(true)
    with pytest.RaisesGroup(Untrue, flatten_subgroups=True):
        await Lesson(tmp_path / "false", ports=(5000,), peer_ports=()).run(true.replace("220", "200"))


def test_blocks_without_a_first_line_are_for_readers() -> None:
    blocks = list(read_blocks("```\nx\n```\n\n```terminal a\n$ b\n```\n"))
    assert [(block.info, block.at, block.lines) for block in blocks] == [(["terminal", "a"], 5, ["$ b"])]


def test_a_command_runs_on_until_it_is_interrupted() -> None:
    blocks = list(read_blocks(TRUE))
    _, commands = read_terminal(blocks[2].lines)
    assert stays(commands, blocks[4:])
    assert not stays(commands[:1], blocks[4:][:0])
    assert not stays([], blocks)
    meanwhile, commands = read_terminal(blocks[4].lines)
    assert meanwhile == ["^C"]
    assert [(command.text, command.printed) for command in commands] == [("echo bye", ["bye"])]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x: 13 B from 1 source at 1.2 kB/s", "x: 600 MB from 1 source at 3 B/s"),
        ("at 127.0.0.1:45035", "at 127.0.0.1:39999"),
        ("tracker listens on port 5000: 192.0.2.7:5000", "tracker listens on port 5000: 10.1.2.3:5000, 10.2.2.3:5000"),
        ("after 0.1 s", "after 12 s"),
        ("127.0.0.1:5000   me", "127.0.0.1:5000 me"),
    ],
)
def test_what_differs_from_run_to_run_is_made_equal(one: str, other: str) -> None:
    assert plain(one) == plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("from 1 source", "from 2 sources"), ("127.0.0.1:5000", "127.0.0.1:5001"), ("b3=1234", "b3=1235"), ("3", "4")],
)
def test_what_matters_is_not(one: str, other: str) -> None:
    assert plain(one) != plain(other)
