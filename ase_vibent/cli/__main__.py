"""`python -m ase_vibent.cli`, the same as `vibent`."""

import sys

from ase_vibent.cli import main

sys.exit(main())
