"""More file descriptors than a shell gives."""

from __future__ import annotations

import resource

#: As many as a server with all its connections, files and reserves ever needs.
_ENOUGH = 65536


def raise_descriptor_limit() -> None:
    """Let this process open as many files and connections as it may, up to what it can ever need.

    The soft limit is low, often 1024, for the sake of programs that call select(2), which breaks above that. None of
    ours does. Source: Go's runtime does the same, for the same reason.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
