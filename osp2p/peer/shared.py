"""One shared file: what it was when it was listed, and how it is opened so that nothing else can be served."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from osp2p.content.digest import Digests, FileState, state_of
from osp2p.errors import SourceChanged, UnsafeName
from osp2p.net.errors import disk_errors

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class SharedFile(NamedTuple):
    """A file that is shared, as it was when it was last looked at.

    Attributes:
        name: under which others ask for it.
        path: where it lies.
        root: the shared directory, without symbolic links, which it must not leave; None for a file that was named by
            itself.
        state: size, time and inode.
        digests: MD5 and content id of that state; None until they are computed.
        hashes: its chunk list; None until it is computed, or where it is long, and `Library.chunk_hashes` has it.
        device: the number of its file system, on which the inode is its own; None if that was not looked at.
    """

    name: bytes
    path: bytes
    root: bytes | None
    state: FileState
    digests: Digests | None = None
    hashes: bytes | None = None
    device: int | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.state.size

    def open(self) -> int:
        """Open it for serving. See `open_shared`."""
        return open_shared(self)


def is_beneath(path: bytes, directory: bytes) -> bool:
    """Whether a path, both without symbolic links, lies in a directory or is that directory."""
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def open_shared(file: SharedFile) -> int:
    """Open a shared file, if it still is the one that was listed.

    A program that runs on this machine may swap a file or a directory above it for a link at any moment, so what
    counts is what was opened: its type, its state, and that it is the very file which was listed beneath the root, by
    its device and inode, or else where the kernel says that it lies.

    Returns: a file descriptor, the caller's to close.

    Raises:
        UnsafeName: it lies outside its directory.
        SourceChanged: it is gone, or is another file, or has another size or time.
        StoreError: it cannot be read.
    """
    label = file.name.decode("utf-8", "backslashreplace")
    with disk_errors(f"cannot read {label}"):
        try:
            fd = _open_real(file)
        except (FileNotFoundError, NotADirectoryError):
            raise SourceChanged(f"{label} is gone") from None
        try:
            _check_open(fd, file, label)
        except BaseException:
            os.close(fd)
            raise
    return fd


def _check_open(fd: int, file: SharedFile, label: str) -> None:
    """See whether what was opened is what is shared.

    Raises:
        UnsafeName, SourceChanged: no.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or state_of(status) != file.state:
        raise SourceChanged(f"{label} is not the file any more that was shared")
    if file.root is None or status.st_dev == file.device:
        return
    if not is_beneath(_real_path(fd, file.path), file.root):
        raise UnsafeName(f"{label} lies outside the shared directory")


def _open_real(file: SharedFile) -> int:
    """Open a path; where it is a symbolic link, what it leads to, if that is beneath the root."""
    try:
        return os.open(file.path, _FLAGS)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    real = os.path.realpath(file.path)
    if file.root is not None and not is_beneath(real, file.root):
        raise UnsafeName("a symbolic link leads outside the shared directory")
    return os.open(real, _FLAGS)


def _real_path(fd: int, path: bytes) -> bytes:
    """Where an open file lies. For one that was removed meanwhile: where it lay."""
    try:
        return os.readlink(b"/proc/self/fd/%d" % fd)
    except OSError:  # /proc is not there
        return os.path.realpath(path)
