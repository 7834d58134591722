"""The dialogues recorded from the tracker of 2007, replayed against ours over real sockets.

``tracker.json``: a list of dialogues, each with ``name``, ``why`` and ``steps``. A step names a connection (``on``),
which opens at its first mention, and then says one of

- ``send`` (a line, or with ``raw`` bytes as they stand) and what must come: ``code`` of the terminator, null where the
  connection ends instead (``closed``), and ``data``, the data lines in any order;
- no ``send``: what else must come;
- ``silent``: nothing must come;
- ``close``: the client leaves;
- ``repeat``: so many lines at once, ``{i}`` in them counting, with the ``codes`` that come.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.tracker.talk import PATIENCE, Client, client, running_tracker, until

DIALOGUES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("tracker.json").read_text())

#: For how long nothing must come in a silent step.
SILENCE_SECONDS = 0.1


class Replay:
    """One dialogue against a tracker."""

    def __init__(self, port: int, stack: AsyncExitStack) -> None:
        self._port = port
        self._stack = stack
        self._clients: dict[str, Client] = {}

    async def step(self, step: dict[str, Any]) -> None:
        """Do one step, and compare."""
        label = step.get("on", "a")
        if label not in self._clients:
            self._clients[label] = await self._stack.enter_async_context(client(self._port))
        talk = self._clients[label]
        if step.get("close"):
            talk.connection.close()
            del self._clients[label]
            await self._wait_forgotten()
            return
        if "repeat" in step:
            lines = [step["send"].replace("{i}", str(number)) for number in range(step["repeat"])]
            await talk.send("".join(f"{line}\n" for line in lines).encode("latin-1"))
            replies = [await talk.reply() for _ in lines]
            assert sorted({str(reply.code) for reply in replies if reply}) == step["codes"]
            return
        if "send" in step:
            await talk.send((step["send"] + ("" if step.get("raw") else "\n")).encode("latin-1"))
        if step.get("silent"):
            with trio.move_on_after(SILENCE_SECONDS):
                pytest.fail(f"expected silence, got {await talk.line()!r}")
            return
        reply = await talk.reply()
        if step["code"] is None:
            assert reply is None
            assert step["closed"]
            return
        assert reply is not None
        assert str(reply.code) == step["code"]
        assert sorted(line.decode("latin-1") for line in reply.data) == sorted(step["data"])

    async def _wait_forgotten(self) -> None:
        """Wait until the tracker has noticed that a client left: until nobody is logged in any more."""
        async with client(self._port) as watcher:

            async def forgotten() -> bool:
                return not (await watcher.ask(b"WHO")).data

            await until(forgotten)


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=[dialogue["name"] for dialogue in DIALOGUES])
async def test_dialogue(dialogue: dict[str, Any]) -> None:
    with trio.fail_after(PATIENCE):
        async with running_tracker() as addresses, AsyncExitStack() as stack:
            replay = Replay(addresses[0].port, stack)
            for step in dialogue["steps"]:
                await replay.step(step)


def test_all_dialogues_are_here() -> None:
    assert len(DIALOGUES) == 30
    assert all(dialogue["steps"] for dialogue in DIALOGUES)
