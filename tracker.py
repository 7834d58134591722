#!/usr/bin/env python3
"""The tracker, with the command line of 2007: python tracker.py [-pPORT] [-l] [-x] [-f]."""

import sys

from osp2p.cli.main import main_old_tracker

if __name__ == "__main__":
    sys.exit(main_old_tracker())
