#!/usr/bin/env python3
"""The peer, with the command line of 2007: python peer.py [-tIP:PORT|-tPORT|-tIP] [-dDIR] [-b[MODE]] [FILE…]."""

import sys

from osp2p.cli.main import main_old_peer

if __name__ == "__main__":
    sys.exit(main_old_peer())
