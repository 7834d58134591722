"""A peer: what it shares, what it serves, what it fetches."""

from osp2p.peer.node import Node, Wanted, open_node
from osp2p.peer.transfer import GetOptions

__all__ = ["GetOptions", "Node", "Wanted", "open_node"]
