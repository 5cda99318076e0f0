"""How a network is edited: replace layers, resize them, widen the network, initialize new weights. Imports torch and
`graph`."""

from .initialization import Initializer
from .replace import branch, initializer, replace, replaceable, site_of
from .resize import resized_layer

__all__ = ["Initializer", "branch", "initializer", "replace", "replaceable", "resized_layer", "site_of"]
