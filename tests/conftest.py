"""What all tests share.

Hypothesis has no deadlines, because a busy machine is no failure. SIGINT is not ignored, even where the shell that
started the tests in the background says so: the programs that tests start would inherit that, and never end.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("osp2p", deadline=None)
settings.load_profile("osp2p")


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A command that runs in a test's process sends what is logged to that test's standard error, and no other's."""
    logger = logging.getLogger("osp2p")
    handlers, propagate, level = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:] = handlers
    logger.propagate = propagate
    logger.setLevel(level)
