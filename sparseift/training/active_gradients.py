"""Sends only the gradients of active weights between ranks, in steps that read no others."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed
from torch.distributed import GradBucket
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from ..errors import UserError
from ..masks.inplace import laid_out_as
from .callbacks.masks import ObservesMasks


class ActiveGradients(ObservesMasks):
    """A communication hook of DistributedDataParallel for networks with masks.

    Gradients of masked weights are set to zero after the ranks have added them up. They are sent in steps whose update
    reads them, such as those of RigL, and are zero in all others. Each sum has the same terms as without this hook:
    with two ranks, the bits are the same. A number that is not finite and masked is not noticed, and skips no step.

    It keeps the places of the active weights, 8 bytes for each.

    Attributes:
        sent: Bytes of the tensors that this rank has given to collectives.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._places: dict[tuple[int, ...], Tensor] = {}
        self._updated_at = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        model = trainer.strategy.model
        if not self.mask_callback or not isinstance(model, DistributedDataParallel):
            return
        self._masks = {id(weight): name for name, weight in self.mask_callback.masks.weights.items()}
        try:
            model.register_comm_hook(None, lambda _, bucket: self._reduce(bucket))  # torch refuses annotations in text
        except RuntimeError as error:
            raise UserError(
                "trainer.send_active_gradients is True; expected false with another communication hook"
            ) from error

    def _reduce(self, bucket: GradBucket) -> Future[Tensor]:
        """Average a bucket of gradients over the ranks."""
        buffer = bucket.buffer().div_(distributed.get_world_size())
        places = self._active_places(bucket)
        values = buffer if places is None else buffer.index_select(0, places)
        self.sent += values.numel() * values.element_size()
        work = distributed.all_reduce(values, async_op=True)
        assert work is not None

        def received(future: Future[list[Tensor]]) -> Tensor:
            (total,) = future.value()
            return buffer if places is None else buffer.zero_().index_copy_(0, places, total)

        return work.get_future().then(received)

    def _active_places(self, bucket: GradBucket) -> Tensor | None:
        """The places in the buffer of a bucket whose gradients this step needs; None for all."""
        masked = self.mask_callback
        parameters = bucket.parameters()
        if masked is None or masked.reads_dense_gradients or not any(id(one) in self._masks for one in parameters):
            return None
        if masked.updated_at != self._updated_at:
            self._updated_at = masked.updated_at
            self._places = {}
        key = tuple(map(id, parameters))
        if key not in self._places:
            pairs = zip(parameters, bucket.gradients(), strict=True)
            self._places[key] = torch.cat([self._places_of(bucket, *pair) for pair in pairs])
        return self._places[key]

    def _places_of(self, bucket: GradBucket, parameter: Tensor, gradient: Tensor) -> Tensor:
        """The places of the active weights of a parameter, in the order of memory."""
        start, size = gradient.storage_offset() - bucket.buffer().storage_offset(), gradient.numel()
        if id(parameter) not in self._masks:
            return torch.arange(start, start + size, device=gradient.device)
        assert self.mask_callback
        mask = laid_out_as(gradient, self.mask_callback.masks[self._masks[id(parameter)]])
        return mask.as_strided((size,), (1,), 0).nonzero().squeeze(1).add_(start)
