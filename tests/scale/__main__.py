"""`python -m tests.scale` is `python -m tests.scale.export`, which `make scale` runs."""

import sys

from tests.scale.export import main

sys.exit(main())
