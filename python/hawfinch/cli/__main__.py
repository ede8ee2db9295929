"""``python -m hawfinch.cli``."""

import sys

from . import main

sys.exit(main())
