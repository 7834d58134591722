"""A peer: what it shares, what it serves, what it fetches."""

from osp2p.peer.node import Node, open_node
from osp2p.peer.transfer import GetOptions
from osp2p.peer.wanted import Wanted

__all__ = ["GetOptions", "Node", "Wanted", "open_node"]
