"""How many files and connections this process may still open."""

from __future__ import annotations

import os
import resource

#: What is kept free is at most this part of all that the process may open.
_LARGEST_RESERVE = 0.25


def descriptors_are_short(reserve: int) -> bool:
    """Whether fewer descriptors than `reserve` are left, or less than a quarter where that is less.

    The system gives the lowest number that is free, so one that is opened to see tells of all below it, whoever in
    this process holds them.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(lowest)
    return lowest >= soft - min(reserve, int(soft * _LARGEST_RESERVE))
