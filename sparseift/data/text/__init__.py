"""Text as tokens: one module for each data set. Imports numpy, tokenizers, zstandard and `data`."""

from .tokenizers import BPE, Bytes, Saved

__all__ = ["BPE", "Bytes", "Saved"]
