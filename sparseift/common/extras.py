"""What the library needs beyond torch and numpy for its programs, and how to install it."""

from __future__ import annotations

from importlib.util import find_spec

from ..errors import UserError

SUITE = {
    "hydra": "hydra-core",
    "matplotlib": "matplotlib",
    "pytorch_lightning": "pytorch-lightning",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tensorboard": "tensorboard",
    "torchmetrics": "torchmetrics",
    "torchvision": "torchvision",
    "yaml": "pyyaml",
}
"""Modules of the experiment suite, and the packages that have them."""


def require_suite(what: str) -> None:
    """Check that the experiment suite is installed.

    Args:
        what: What needs it, for the message.

    Raises:
        UserError: A module is missing.
    """
    for module, package in SUITE.items():
        if not find_spec(module):
            raise without_suite(what, package)


def without_suite(what: str, package: str) -> UserError:
    """Return the error of a missing package."""
    return UserError(f"{what} needs {package}, which is not installed: pip install 'sparseift[suite]'")
