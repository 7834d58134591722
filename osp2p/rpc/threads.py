"""Worker threads for methods that are not async: so many altogether, and so many for one host.

A thread cannot be cancelled. One whose caller has left goes on until its method is through, and counts until then; so
whoever calls slow methods and leaves would soon have all threads, if there were no share of one host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import trio

from osp2p.limits import Limits
from osp2p.net.admission import source_of
from osp2p.wire.address import Address

T = TypeVar("T")


class CallThreads:
    """Threads, shared out among hosts. What comes beyond waits.

    Args:
        limits: `max_call_threads`, `max_call_threads_per_host`.
    """

    def __init__(self, limits: Limits) -> None:
        self._most_of_one = limits.max_call_threads_per_host
        self._all = trio.CapacityLimiter(limits.max_call_threads)
        self._shares: dict[str, _Share] = {}

    def __len__(self) -> int:
        """How many hosts have threads, or wait for some."""
        return len(self._shares)

    async def run(self, function: Callable[[], T], remote: Address | None) -> T:
        """Run a function in a thread.

        Args:
            remote: for whom; None: for this node's own user, who has no share but all.

        Raises: what the function raises.

        Cancellation: the thread is abandoned, and its result is lost; it counts until it is through.
        """
        limiter = self._all if remote is None else self._share(source_of(remote.host))
        return await trio.to_thread.run_sync(
            function,
            abandon_on_cancel=True,
            limiter=cast("trio.CapacityLimiter", limiter),  # it may be any object with its two methods, says trio
        )

    def _share(self, source: str) -> _Share:
        share = self._shares.get(source)
        if share is None:
            share = self._shares[source] = _Share(self._all, self._most_of_one, lambda: self._shares.pop(source))
        return share


class _Share:
    """The threads of one host.

    Args:
        forget: called once nobody has or wants any of them.
    """

    def __init__(self, everybodys: trio.CapacityLimiter, most: int, forget: Callable[[], object]) -> None:
        self._everybodys = everybodys
        self._own = trio.CapacityLimiter(most)
        self._forget = forget
        self._users = 0

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Wait for a thread of its own first: who waits for that takes no turn from others."""
        self._users += 1
        try:
            await self._own.acquire_on_behalf_of(borrower)
            try:
                await self._everybodys.acquire_on_behalf_of(borrower)
            except BaseException:
                self._own.release_on_behalf_of(borrower)
                raise
        except BaseException:
            self._leave()
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give the thread back."""
        self._everybodys.release_on_behalf_of(borrower)
        self._own.release_on_behalf_of(borrower)
        self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._forget()
