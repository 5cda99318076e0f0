"""Exits with a one-line error if the package is not installed. Scripts that need it import this module first."""

import sys
from importlib.util import find_spec

if not find_spec("sparseift"):
    sys.exit(f"{sys.argv[0]}: no sparseift in {sys.executable}; run scripts/quickstart, then: . .venv/bin/activate")
