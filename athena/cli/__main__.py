"""`python -m athena.cli`: the same as the script `athena`."""

from __future__ import annotations

import sys

from athena.cli import main

sys.exit(main())
