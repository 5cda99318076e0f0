"""Networks in one compact file, for prediction alone. Imports torch, `backends`, `graph`, `kernels` and
`masks`, and safetensors to write a file."""

from .capture import capture
from .file import SUFFIX, Packed, read, write
from .network import CompactNetwork

__all__ = ["SUFFIX", "CompactNetwork", "Packed", "capture", "read", "write"]
