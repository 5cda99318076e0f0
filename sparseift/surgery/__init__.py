"""Edits of networks: replace and resize layers, widen a network, initialize weights. Imports torch and `graph`."""

from .replace import initializer, irreplaceable, replace
from .resize import resized_layer

__all__ = ["initializer", "irreplaceable", "replace", "resized_layer"]
