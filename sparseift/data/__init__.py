"""Data modules: data sets, and loaders that resume and shard. Imports Lightning and `common`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import DataModule

__all__ = ["DataModule"]


def __getattr__(name: str) -> Any:
    """Import the data module at its first use: `sparseift.load` needs the preprocessing alone, without Lightning."""
    if name == "DataModule":
        from .base import DataModule

        return DataModule
    raise AttributeError(f"module 'sparseift.data' has no attribute '{name}'")
