"""Who may be connected to a server, and who has to leave when there is no room for somebody new.

Three kinds of visits, by what their handler has said of them:

- **strangers** count against their address, and leave when there is no room, the longest silent one first;
- **busy** ones, a file being sent to them for instance, are strangers that are not sent away;
- **admitted** ones, a tracker's registered peers, count against no address and are never sent away.

Room is made in two cases. An address has as many strangers as one may have: then its own longest silent one leaves. The
server has as many connections as it may have, or the process hardly any file descriptors left: then the longest silent
of all strangers leaves. Where nobody can be sent away, the newcomer is turned away.

Silence is measured by turns, not by a clock: who has been heard since he was last looked at is passed over once. So a
stranger that speaks costs its server nothing but an attribute that is set.

Source: the second-chance page replacement of operating systems, known as CLOCK.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

import trio

from osp2p.limits import Limits
from osp2p.net.connection import Connection
from osp2p.net.descriptors import descriptors_are_short


def source_of(host: str) -> str:
    """Whom a connection counts for: an IPv4 address, or an IPv6 network of 64 bits, all of which one host may use."""
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((host, 64), strict=False))


class Visit:
    """One connection, as its server sees it; its handler says what becomes of it.

    Args:
        connection: what it is about.
        admission: who is asked; None: nobody, and nothing that is said of it has a consequence.

    Attributes:
        heard: set by the handler whenever the other side has said something whole.
        busy: set by the handler for as long as the visit must not be sent away.
        scope: what the handler runs in.
    """

    __slots__ = ("_admission", "busy", "connection", "heard", "scope", "source")

    def __init__(self, connection: Connection, admission: Admission | None = None) -> None:
        self.connection = connection
        self.source = source_of(connection.remote.host)
        self.heard = False
        self.busy = False
        self.scope = trio.CancelScope()
        self._admission = admission

    def admit(self) -> None:
        """From now on it is no stranger."""
        if self._admission is not None:
            self._admission.admit(self)

    def dismiss(self) -> None:
        """End it: the connection is closed at once, the handler as soon as it has its turn."""
        self.scope.cancel()
        self.connection.close()


class Admission:
    """The visits of one server, or of several that share what there is room for.

    Args:
        limits: `max_connections`, `max_connections_per_host`, `reserved_descriptors`.
        crowded: says whether the process has hardly any file descriptors left; None: asks the system.
    """

    def __init__(self, limits: Limits, crowded: Callable[[], bool] | None = None) -> None:
        self.limits = limits
        self._crowded = crowded or (lambda: descriptors_are_short(limits.reserved_descriptors))
        self._admitted: set[Visit] = set()
        self._strangers: OrderedDict[Visit, None] = OrderedDict()
        self._by_source: dict[str, OrderedDict[Visit, None]] = {}

    def __len__(self) -> int:
        """How many visits there are."""
        return len(self._admitted) + len(self._strangers)

    def enter(self, connection: Connection) -> Visit | None:
        """Let a newcomer in, if there is room or can be made.

        Returns: its visit, whose end is told to `leave`; None where there is no room, and the caller closes it.
        """
        visit = Visit(connection, self)
        own = self._by_source.get(visit.source)
        if own is not None and len(own) >= self.limits.max_connections_per_host:
            room = self._send_one_away(own)
        else:
            full = len(self) >= self.limits.max_connections or self._crowded()
            room = not full or self.make_room()
        if not room:
            return None
        self._strangers[visit] = None
        self._by_source.setdefault(visit.source, OrderedDict())[visit] = None
        return visit

    def leave(self, visit: Visit) -> None:
        """A visit is over. Safe to call twice."""
        self._admitted.discard(visit)
        self._forget_stranger(visit)

    def admit(self, visit: Visit) -> None:
        """A visit is no stranger any more, unless it is over already."""
        if visit in self._strangers:
            self._forget_stranger(visit)
            self._admitted.add(visit)

    def make_room(self) -> bool:
        """Send away the stranger that has been silent longest. Returns: False if there is none that may go."""
        return self._send_one_away(self._strangers)

    def _send_one_away(self, queue: OrderedDict[Visit, None]) -> bool:
        for _ in range(2 * len(queue)):
            visit = next(iter(queue))
            if visit.busy or visit.heard:
                visit.heard = False
                self._strangers.move_to_end(visit)
                self._by_source[visit.source].move_to_end(visit)
            else:
                self._forget_stranger(visit)
                visit.dismiss()
                return True
        return False

    def _forget_stranger(self, visit: Visit) -> None:
        if visit in self._strangers:
            del self._strangers[visit]
            own = self._by_source[visit.source]
            del own[visit]
            if not own:
                del self._by_source[visit.source]
