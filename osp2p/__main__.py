"""``python -m osp2p``: the same as the command ``osp2p``."""

import sys

from osp2p.cli.main import main

sys.exit(main())
