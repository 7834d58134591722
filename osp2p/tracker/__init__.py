"""The tracker: who is here and who holds what (`registry`), what it understands (`commands`), on trio (`server`)."""

from osp2p.tracker.server import serve_tracker
from osp2p.tracker.state import TrackerOptions

__all__ = ["TrackerOptions", "serve_tracker"]
