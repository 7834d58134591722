"""Bytes over trio: connections, listeners, deadlines, and the one place where foreign errors become ours."""

from osp2p.net.admission import Admission, Visit
from osp2p.net.connection import Connection, Listener, Network
from osp2p.net.lines import LineConnection
from osp2p.net.memory import MemoryNetwork
from osp2p.net.serve import serve_connections, serve_visits
from osp2p.net.tcp import TcpNetwork

__all__ = [
    "Admission",
    "Connection",
    "LineConnection",
    "Listener",
    "MemoryNetwork",
    "Network",
    "TcpNetwork",
    "Visit",
    "serve_connections",
    "serve_visits",
]
