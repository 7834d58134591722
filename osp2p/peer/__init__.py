"""A peer: what it shares, what it serves, what it fetches."""

from osp2p.peer.many_fetch import Wanted
from osp2p.peer.node import Node, open_node
from osp2p.peer.transfer import GetOptions

__all__ = ["GetOptions", "Node", "Wanted", "open_node"]
