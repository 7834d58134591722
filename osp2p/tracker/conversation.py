"""One connection to a tracker: packets in, whole replies out."""

from __future__ import annotations

import logging
from math import inf

import trio

from osp2p.errors import NetworkError
from osp2p.limits import Limits
from osp2p.net import Visit
from osp2p.net.groups import one_error
from osp2p.net.lane import Lane, Making
from osp2p.tracker.commands import GREETING, answer_lines, write_news
from osp2p.tracker.state import Session
from osp2p.wire.line import LineBuffer
from osp2p.wire.reply import write_reply

logger = logging.getLogger("osp2p.tracker")

_READ_BYTES = 65536

#: How many bytes of replies are collected before they are sent, though more lines of the packet wait.
_SEND_BYTES = 65536

#: After how many lines of one packet the other connections have a turn.
_LINES_AT_ONCE = 64

_TOO_LONG = write_reply(500, b"that line is too long; goodbye")
_TOO_MUCH = write_reply(500, b"too much has been sent while BLOCKNOTIFY waits; goodbye")
_IDLE = write_reply(300, b"nothing has been heard for too long; goodbye")
_ENDING = write_reply(300, b"this tracker ends; goodbye")


class Conversation:
    """The task of one connection.

    Attributes:
        deadline: when it is over unless something happens before; a time of trio's clock. The server looks at it.
        scope: what the server then cancels.
    """

    def __init__(self, visit: Visit, session: Session, lane: Lane, limits: Limits) -> None:
        self.deadline = inf
        self.scope = trio.CancelScope()
        self._visit = visit
        self._connection = visit.connection
        self._session = session
        self._lane = lane
        self._limits = limits
        self._buffer = LineBuffer(limits.max_line)
        self._ended = False
        session.at_once = False

    async def run(self) -> None:
        """Talk until either side ends it.

        Raises:
            NetworkError: the connection broke.

        Cancellation: the client is told that the tracker ends, in a short time, and nothing that was being sent is
            mixed up with that.
        """
        try:
            with self.scope:
                await self._talk()
            if self.scope.cancelled_caught:
                await self._say_last(_IDLE)
        except (trio.Cancelled, BaseExceptionGroup):  # a group out of the nursery of BLOCKNOTIFY
            if trio.current_effective_deadline() == -inf:
                with trio.CancelScope(shield=True):
                    await self._say_last(_ENDING)
            raise

    async def _talk(self) -> None:
        session = self._session
        limits = self._limits
        buffer = self._buffer
        await self._send(GREETING)
        in_line = False
        self.deadline = trio.current_time() + limits.first_command_timeout
        while not (self._ended or session.closing):
            data = await self._connection.receive(_READ_BYTES)
            if not data:
                return
            lines = buffer.feed_lines(data)
            now = trio.current_time()
            if lines:
                self._visit.heard = True
                self.deadline = now + limits.send_timeout
                replies: list[bytes] = []
                done = self._answer_some(lines, 0, replies)
                if done < len(lines) or session.attention:
                    await self._answer_rest(lines, done, replies)
                    now = trio.current_time()
                else:
                    await self._connection.send(b"".join(replies))
            if buffer.overlong and not (self._ended or session.closing):
                await self._send(_TOO_LONG)
                break
            if not len(buffer):
                in_line = False
                self.deadline = now + (limits.idle_timeout if session.commanded else limits.first_command_timeout)
            elif lines or not in_line:  # a line has begun; what else comes of it does not move its deadline
                in_line = True
                self.deadline = now + limits.line_timeout
        session.state.logout(session)
        self.deadline = inf
        await self._linger()

    def _answer_some(self, lines: list[bytes], start: int, replies: list[bytes]) -> int:
        """Answer complete lines from number `start` on, until one wants attention or others should have a turn.

        Args:
            replies: the replies are appended.

        Returns: the number of the first line that is still to be answered.
        """
        before = len(replies)
        some = lines[start : start + _LINES_AT_ONCE] if start or len(lines) > _LINES_AT_ONCE else lines
        answer_lines(self._session, some, replies)
        return start + len(replies) - before

    async def _answer_rest(self, lines: list[bytes], start: int, replies: list[bytes]) -> None:
        """Go on where `_answer_some` has stopped, and send all replies: with one write, unless they are very long.

        Args:
            lines: what arrives while BLOCKNOTIFY waits is appended.
        """
        session = self._session
        counted = size = 0
        while True:
            if session.attention:
                session.attention = False
                if session.costly is not None:
                    if self._lane.is_busy:  # what can be answered now is a sign of life for who has asked it
                        await self._send(b"".join(replies))
                        replies[:] = [b""]
                        counted = size = 0
                    replies[-1] = await self._answer_in_turn(session.costly)
                    session.costly = None
                if session.waiting:
                    await self._send(b"".join(replies))
                    del lines[:start]
                    start = 0
                    replies[:] = [await self._wait_for_news(lines)]
                    counted = size = 0
                if session.closing or self._ended:
                    break
            if start == len(lines):
                break
            await trio.lowlevel.checkpoint()
            size += sum(map(len, replies[counted:]))
            counted = len(replies)
            if size > _SEND_BYTES:
                await self._send(b"".join(replies))
                replies.clear()
                counted = size = 0
            start = self._answer_some(lines, start, replies)
        await self._send(b"".join(replies))

    async def _answer_in_turn(self, making: Making) -> bytes:
        """Make a costly answer when it is the turn of this client's address.

        However long that takes, the client has time afterwards to take the answer.
        """
        self.deadline = inf
        reply = await self._lane.make(self._visit.source, making)
        self._lane.hold(self._visit, len(reply))
        return reply

    async def _send(self, data: bytes) -> None:
        if data:
            self.deadline = trio.current_time() + self._limits.send_timeout
            await self._connection.send(data)
            self._lane.release(self._visit)

    async def _wait_for_news(self, lines: list[bytes]) -> bytes:
        """Wait for the answer to BLOCKNOTIFY, and read on meanwhile: so the end of the connection is noticed.

        Args:
            lines: those that wait to be answered afterwards; complete lines that arrive are appended.

        Returns: the answer, or the reason to end the connection.
        """
        session = self._session
        news = trio.Event()
        session.wake = news.set
        self.deadline = inf
        last_words = b""

        async def read_on() -> None:
            nonlocal last_words
            room = max(0, self._limits.max_blocked_input - sum(map(len, lines)) - len(lines))
            while not self._ended:
                data = await self._connection.receive(_READ_BYTES)
                lines.extend(self._buffer.feed_lines(data))
                room -= len(data)
                self._ended = not data or room < 0 or self._buffer.overlong
                last_words = _TOO_MUCH if room < 0 else _TOO_LONG if self._buffer.overlong else b""
            nursery.cancel_scope.cancel()

        while not (self._ended or (reply := write_news(session))):
            with one_error():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read_on)
                    await news.wait()
                    nursery.cancel_scope.cancel()
        session.waiting = False
        return last_words if self._ended else reply

    async def _say_last(self, text: bytes) -> None:
        """Say goodbye, if the client takes it at once, and end our direction."""
        with trio.move_on_after(self._limits.farewell_timeout):
            try:
                await self._connection.send(text)
                await self._connection.send_eof()
            except NetworkError as error:  # it was not listening anyway
                logger.debug("no goodbye to %s: %s", self._connection.remote, error)

    async def _linger(self) -> None:
        """Let our last words arrive: to close while something is unread would reset them away."""
        with trio.move_on_after(self._limits.linger_timeout):
            await self._connection.send_eof()
            room = self._limits.max_lingering_bytes
            while room > 0 and (data := await self._connection.receive(_READ_BYTES)):
                room -= len(data)
