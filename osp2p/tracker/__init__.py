"""The tracker: who is logged in, and who has what."""

from osp2p.tracker.commands import TrackerOptions
from osp2p.tracker.server import serve_tracker

__all__ = ["TrackerOptions", "serve_tracker"]
