"""``python -m hyperspec``: the console command."""

import sys

from hyperspec.cli.main import main

sys.exit(main())
