"""The kinds of layers, norms, activations and sums that a trace knows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

LAYERS = (*CONVS, *TRANSPOSED, nn.Linear)

LAYER_FUNCTIONS = {
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d,
}  # fmt: skip

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm, nn.LayerNorm)

ACTIVATIONS = {
    F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6, F.hardtanh, F.leaky_relu, F.elu, F.selu,
    F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.softplus, F.prelu, torch.tanh, Tensor.tanh, Tensor.tanh_,
}  # fmt: skip
"""Non-linearities a layer may end in. Gates (sigmoid, softmax) are not among them: they scale another tensor."""

SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}


def layers_by_weight(net: nn.Module) -> dict[int, nn.Module]:
    """The layer that holds a weight, by id() of the weight; not those that compute theirs anew at each use."""
    layers = (module for module in net.modules() if isinstance(module, LAYERS) and "weight" in module._parameters)
    return {id(layer.weight): layer for layer in layers}
