"""Every error that the package raises on purpose.

::

    Osp2pError
    ├── LocalProtocolError          we were about to break the protocol: a bug of ours or of a caller
    ├── RemoteProtocolError         they broke the protocol; carries the reply code that fits
    │   ├── LineTooLong
    │   ├── MalformedLine
    │   ├── MalformedDatagram       one datagram of the overlay; its code is KRPC's
    │   └── MalformedDocument       what a call carries, or what comes back, is not XML-RPC
    ├── NetworkError                the network failed, not the protocol
    │   ├── ConnectFailed           nobody listens, no route, refused, unknown host
    │   ├── ConnectionLost          closed, reset or cut off in the middle
    │   ├── TimedOut                an absolute deadline passed
    │   └── ListenFailed            our own port cannot be opened
    ├── TrackerError
    │   ├── TrackerUnreachable      no tracker answers at that address
    │   └── TrackerRefused          it answered, with a code other than 2xx
    ├── OverlayError                the overlay did not do what we need of it
    │   ├── OverlayUnreachable      nobody answers at the addresses to join through
    │   └── NotStored               no node took what was to be kept, or some refused it as outdated
    ├── TransferError               one file could not be fetched
    │   ├── NobodyHasIt
    │   ├── SourceRefused           this holder does not serve it (or serves an empty answer)
    │   ├── Stalled                 too slow or silent for too long, everywhere
    │   ├── TooLarge                larger than the user, or `Limits.max_size`, allows
    │   ├── Unverified              no checksum known, and the caller demanded one
    │   ├── ChecksumMismatch        arrived whole, but it is not what the tracker or the link names
    │   └── ContentChanged          the name now stands for another content than when we began
    ├── StoreError                  the local disk
    │   ├── DiskFull
    │   ├── TargetLocked            another fetch is writing the same target
    │   └── SourceChanged           a shared file shrank or changed while it was being sent
    ├── CallError                   a call of another node's method brought no result
    │   ├── NodeNotFound            nobody knows where the node is, or who has the service
    │   ├── NetworkFailed           it, or whoever knows where it is, cannot be reached; cut off; somebody else answers
    │   ├── CallTimedOut            there was no answer in time
    │   ├── Refused                 the node does not do it; carries the reply's code
    │   └── Fault                   the method was called, and failed; carries the fault's code
    ├── UnsafeName                  a name that would leave the shared directory, or cannot be a file's name
    ├── AttackError                 an attack of ours (osp2p.evil) that does not begin
    │   ├── UnknownAttack           there is none of that name
    │   └── NotAllowed              its target is in no network that may be attacked
    └── GradeError                  a grade (osp2p.grade) that does not begin
        ├── CommandFailed           the program that is to be graded cannot be started
        └── NothingAsked            no check is left

`LocalProtocolError` is never caused by what a stranger sends. Everything else may be.
"""

from __future__ import annotations


class Osp2pError(Exception):
    """The root of the tree. Its text is one sentence for a person."""


class LocalProtocolError(Osp2pError):
    """We were asked to write something that the protocol does not allow."""


class RemoteProtocolError(Osp2pError):
    """The other side sent something that the protocol does not allow.

    Attributes:
        code: the three-digit reply code that a server answers with, 500 unless said otherwise.
    """

    def __init__(self, text: str, code: int = 500) -> None:
        super().__init__(text)
        self.code = code


class LineTooLong(RemoteProtocolError):
    """A line, or a reply, is over its limit. The connection cannot go on."""


class MalformedLine(RemoteProtocolError):
    """A line does not have the form that its verb demands. The connection may go on."""


class MalformedDatagram(RemoteProtocolError):
    """A datagram of the overlay, or what it carries, does not have the form that it must have.

    Attributes:
        code: of KRPC, 203 unless said otherwise.
    """

    def __init__(self, text: str, code: int = 203) -> None:
        super().__init__(text, code)


class MalformedDocument(RemoteProtocolError):
    """What a call carries, or what comes back, is not XML-RPC, or holds what must not be in it."""


class NetworkError(Osp2pError):
    """The network failed."""


class ConnectFailed(NetworkError):
    """No connection could be made."""


class ConnectionLost(NetworkError):
    """The connection ended before its work was done."""


class TimedOut(NetworkError):
    """An absolute deadline passed."""


class ListenFailed(NetworkError):
    """A port of ours cannot be opened."""


class TrackerError(Osp2pError):
    """The tracker did not do what we need of it."""


class TrackerUnreachable(TrackerError):
    """No tracker answers at its address."""


class TrackerRefused(TrackerError):
    """The tracker answered with a code other than 2xx.

    Attributes:
        code: the terminator's three digits.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class OverlayError(Osp2pError):
    """The overlay did not do what we need of it."""


class OverlayUnreachable(OverlayError):
    """No node of the overlay answers."""


class NotStored(OverlayError):
    """No node took what was to be kept, or some refused it as outdated."""


class TransferError(Osp2pError):
    """A file could not be fetched."""


class NobodyHasIt(TransferError):
    """No peer is known to hold the file."""


class SourceRefused(TransferError):
    """This holder does not serve the file."""


class Stalled(TransferError):
    """The bytes came too slowly, or not at all."""


class TooLarge(TransferError):
    """The file is larger than is allowed, or is said to be."""


class Unverified(TransferError):
    """The file arrived, but nothing proves it and the caller demanded proof."""


class ChecksumMismatch(TransferError):
    """What arrived is not what was announced."""


class ContentChanged(TransferError):
    """The name stands for another content than when the fetch began."""


class StoreError(Osp2pError):
    """The local disk did not do what we need of it."""


class DiskFull(StoreError):
    """There is no space left (or a quota is used up)."""


class TargetLocked(StoreError):
    """Another fetch is writing the same target."""


class SourceChanged(StoreError):
    """A shared file shrank or changed while it was being sent."""


class CallError(Osp2pError):
    """A call of another node's method brought no result."""


class NodeNotFound(CallError):
    """Nobody knows where a node is, or which node has a service."""


class NetworkFailed(CallError):
    """The node, or whoever knows where it is, cannot be reached; the connection was cut off; or another node answers.

    Attributes:
        may_have_run: whether the call may have been carried out all the same.
    """

    def __init__(self, text: str, may_have_run: bool = False) -> None:
        super().__init__(text, may_have_run)
        self.may_have_run = may_have_run

    def __str__(self) -> str:
        return str(self.args[0])


class CallTimedOut(CallError):
    """There was no answer in time; the call may have been carried out all the same."""


class Refused(CallError):
    """The node does not do what it was asked, and nothing was carried out.

    Attributes:
        code: the reply's three digits.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[1])


class Fault(CallError):
    """The method was called, and failed. A method that raises it chooses what its caller sees.

    Attributes:
        code: a number that the method chose, or one of the agreed ones, which are negative.
        text: what went wrong.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text


class UnsafeName(Osp2pError):
    """A name escapes its directory or cannot name a file."""


class AttackError(Osp2pError):
    """An attack of ours cannot begin."""


class UnknownAttack(AttackError):
    """There is no attack of that id or family."""


class NotAllowed(AttackError):
    """The target of an attack is in no network that its user allowed to be attacked."""


class GradeError(Osp2pError):
    """A grade of ours cannot begin."""


class CommandFailed(GradeError):
    """The program that is to be graded cannot be started, or does not listen."""


class NothingAsked(GradeError):
    """No check has an id that was asked for."""
