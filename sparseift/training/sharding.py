"""Fully sharded data parallelism (FSDP2): each rank stores a part of every weight, gradient and optimizer state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import StochasticWeightAveraging, WeightAveraging
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.optim import Optimizer

from ..backends import Backend, Masked
from ..common.checks import require
from ..graph.copies import duplicate
from ..graph.pytree import tree_map_only
from ..masks.optimizers import ELEMENTWISE
from ..masks.sharded import sharded_as, whole
from ..sparsifiers import Sparsifier
from .callbacks import EMA, ChannelsLast, GeneratedText, Histograms, MaskPictures, Spectral

NAME = "fsdp"
"""The value of trainer.strategy."""

PRECISIONS = ("32-true", "bf16-mixed")

WHOLE_WEIGHTS = ("compile", "send_active_gradients", "sync_batchnorm")
"""Options of trainer that need whole weights, or DDP."""

NEED_WHOLE_WEIGHTS = (
    *(EMA, WeightAveraging, StochasticWeightAveraging),  # copy the network
    *(Histograms, Spectral, MaskPictures, GeneratedText),  # compute on rank 0 alone
    ChannelsLast,
)
"""Callbacks that read or change whole weights."""


class Sharded(DDPStrategy):
    """Shards the network of a `TrainingModule` over the ranks with torch's `fully_shard`.

    The given layers are gathered one at a time, in the forward and in the backward pass, and the other parameters
    together. Every rank builds the whole network in the memory of its host before its device gets a part. Checkpoints
    are those of other strategies: rank 0 gathers them in the memory of its host, tensor by tensor. On two CPUs, results
    have the bits of DDP with the same optimizer.

    Args:
        layers: Names of the layers to gather one at a time. Those that share a parameter with another one, and are
            therefore gathered with the rest, may be among them.
    """

    def __init__(self, layers: Iterable[str] = ()):
        super().__init__()
        self.layers = tuple(layers)
        self._plain: nn.Module | None = None  # what `whole_network` fills

    def setup(self, trainer: pl.Trainer) -> None:
        """Shard the network, before the first fit."""
        assert self.accelerator and self.lightning_module
        self.accelerator.setup(trainer)
        if self._plain is None:
            net = self.lightning_module.get_submodule("net")
            self._plain = duplicate(net, {id(parameter): _without_values(parameter) for parameter in net.parameters()})
            self._shard(net)
        self.model_to_device()  # buffers, and metrics
        if trainer.state.fn == TrainerFn.FITTING:
            self.setup_optimizers(trainer)
        self.setup_precision_plugin()

    def _shard(self, net: nn.Module) -> None:
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for name in sorted(separable(net, self.layers), key=lambda name: -name.count(".")):
            fully_shard(net.get_submodule(name), mesh=mesh)
        fully_shard(net, mesh=mesh, reshard_after_forward=True)

    def on_validation_start(self) -> None:
        self._share_buffers()

    def on_test_start(self) -> None:
        self._share_buffers()

    def _share_buffers(self) -> None:
        """Give all ranks the buffers of rank 0, such as the statistics of batch norms, as DDP does."""
        assert self.lightning_module
        for buffer in self.lightning_module.get_submodule("net").buffers():
            distributed.broadcast(buffer, 0)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        assert self.lightning_module
        return self._gathered(self.lightning_module.state_dict())

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module
        own, state = self.lightning_module.state_dict(), checkpoint["state_dict"]
        fitting = {name: sharded_as(own[name], value) if name in own else value for name, value in state.items()}
        self.lightning_module.load_state_dict(fitting, strict=strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return self._gathered(optimizer.state_dict())

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            states = {
                index: {key: _fitting(parameters[index], value) for key, value in state.items()}
                for index, state in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": states})

    def _gathered(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state with whole tensors on the CPU, on rank 0; on other ranks, which take part, nothing."""
        seen: dict[int, Tensor] = {}  # tensors that are shared stay so

        def gather(tensor: Tensor) -> Tensor:
            if id(tensor) not in seen:
                of_all = whole(tensor.detach())
                seen[id(tensor)] = of_all.cpu() if self.is_global_zero else of_all.new_empty(0)
            return seen[id(tensor)]

        gathered = tree_map_only(Tensor, gather, state)
        return gathered if self.is_global_zero else {}

    def whole_network(self) -> nn.Module:
        """Return the network as it was before it was sharded, with its present weights, on rank 0; call it on all."""
        assert self.lightning_module and self._plain is not None
        net = self.lightning_module.get_submodule("net")
        state = self._gathered(net.state_dict())
        if self.is_global_zero:
            self._plain.load_state_dict(state, assign=True)
            self._plain.train(net.training)
        return self._plain

    def teardown(self) -> None:
        """Leave the weights where they are, unlike other strategies, which move them to the CPU."""
        assert self.accelerator and self.cluster_environment
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.checkpoint_io.teardown()


def check_sharded(
    trainer: pl.Trainer,
    options: Mapping[str, Any],
    sparsifier: Sparsifier,
    backend: Backend,
    callbacks: Iterable[pl.Callback],
) -> None:
    """Raise `UserError` if a run needs whole weights where a rank has only parts.

    Args:
        trainer: Has the strategy `Sharded`.
        options: Options of the group trainer.
    """
    only = f"with trainer.strategy={NAME}"
    expected = f"one of {', '.join(PRECISIONS)} {only}"
    require(trainer.precision in PRECISIONS, "trainer.precision", trainer.precision, expected)
    for name in WHOLE_WEIGHTS:
        require(not options.get(name), f"trainer.{name}", options.get(name), f"false {only}")
    kind = type(backend).__name__
    require(isinstance(backend, Masked), "backend", kind, f"masked {only}: others need whole weights")
    expected = f"a sparsifier that needs no batches before training {only}, such as rigl"
    require(not sparsifier.batches, "sparsifier", type(sparsifier).__name__, expected)
    for callback in callbacks:
        kind = type(callback).__name__
        fits = not isinstance(callback, NEED_WHOLE_WEIGHTS)
        require(fits, "callbacks", kind, f"none that needs whole weights {only}")


def check_elementwise(optimizer: Optimizer) -> None:
    """Raise `UserError` if an optimizer mixes weights, of which a rank has only parts."""
    names = ", ".join(sorted(kind.__name__ for kind in ELEMENTWISE))
    fits = type(optimizer) in ELEMENTWISE
    require(fits, "recipe.optimizer", type(optimizer).__name__, f"one of {names} with trainer.strategy={NAME}")


def separable(net: nn.Module, layers: Iterable[str]) -> list[str]:
    """Return the names of those layers that share no parameter with another module."""
    owners = Counter(
        id(parameter) for _, module in net.named_modules() for _, parameter in module.named_parameters(recurse=False)
    )
    modules = {name: net.get_submodule(name) for name in layers}
    return [name for name, module in modules.items() if all(owners[id(one)] == 1 for one in module.parameters())]


def _without_values(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)


def _fitting(parameter: Tensor, value: Any) -> Any:
    """What an optimizer keeps for every element of a parameter, sharded as the parameter; anything else as it is."""
    same = isinstance(value, Tensor) and value.shape == parameter.shape and value.dim()
    return sharded_as(parameter, value).clone() if same else value  # a view would keep the whole tensor in memory
