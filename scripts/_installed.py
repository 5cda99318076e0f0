"""Imported first by the scripts beside it that need the package: without it they end in one line."""

import sys
from importlib.util import find_spec

if not find_spec("sparseift"):
    sys.exit(f"{sys.argv[0]}: no sparseift in {sys.executable}; scripts/quickstart makes .venv: . .venv/bin/activate")
