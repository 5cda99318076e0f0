"""Edits of networks: replace and resize layers, widen a network, initialize weights. Imports torch and `graph`."""

from .replace import initializer, replace, replaceable
from .resize import resized_layer

__all__ = ["initializer", "replace", "replaceable", "resized_layer"]
