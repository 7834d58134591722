"""OSP2P: peer-to-peer file sharing in lines of text."""

__version__ = "0.1.0"
