"""Data modules: how samples are loaded, in batches that resume and shard. Imports Lightning and `common`."""

from .base import DataModule

__all__ = ["DataModule"]
