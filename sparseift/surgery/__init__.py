"""Edits of networks: replace and resize layers, widen a network, initialize weights. Imports torch and `graph`."""

from .initialization import Initializer
from .replace import branch, initializer, replace, replaceable, site_of
from .resize import resized_layer

__all__ = ["Initializer", "branch", "initializer", "replace", "replaceable", "resized_layer", "site_of"]
