"""Data modules: data sets, and loaders that resume and shard. Imports Lightning and `common`."""

from .base import DataModule

__all__ = ["DataModule"]
