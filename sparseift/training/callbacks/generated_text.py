"""Text that the network generates during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ...common.checks import integer, number, require
from ...common.seeds import generator_for
from ...runs.generated import Continuation, write_generated
from ...tasks.generation import generate
from ..loggers.tensorboard import TensorBoard
from .monitor import warn_if_never


class GeneratedText(pl.Callback):
    """Continues prompts every n optimizer steps and at the end of training, on rank 0.

    The texts are written to generated.json in the run folder, which reports show, and to TensorBoard, if it is among
    the loggers. Their random numbers depend on the seed of the data and the step alone.

    Args:
        prompts: Texts to continue. An empty one starts with the end of a document.
        tokens: Number of tokens to generate.
        temperature: Divides the scores of the tokens; 0 takes the most likely one.
        every_n_steps: Optimizer steps between texts.
    """

    def __init__(self, prompts: Sequence[str], tokens: int, temperature: float, every_n_steps: int) -> None:
        fits = len(prompts) > 0 and all(isinstance(prompt, str) for prompt in prompts)
        require(fits, "callbacks.generated_text.prompts", prompts, "a list of texts")
        self.prompts = list(prompts)
        self.tokens = integer("callbacks.generated_text.tokens", tokens, 1)
        self.temperature = number("callbacks.generated_text.temperature", temperature, 0)
        self.every_n_steps = integer("callbacks.generated_text.every_n_steps", every_n_steps, 1)
        self.texts: list[Continuation] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # its connector sets it
        fits = all(hasattr(data, name) for name in ("encoder", "context_length", "seed"))
        require(fits, "callbacks.generated_text", type(data).__name__, "a data set of text")
        self.data = data

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        warn_if_never(trainer, self.every_n_steps, "callbacks.generated_text.every_n_steps")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self._generate(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._generate(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"texts": list(self.texts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.texts = list(state["texts"])

    def _generate(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = trainer.global_step
        if not trainer.is_global_zero or any(text["step"] == step for text in self.texts):
            return
        net = pl_module.get_submodule("net")
        with trainer.precision_plugin.forward_context():
            new = [self._continue(net, index, prompt, step) for index, prompt in enumerate(self.prompts)]
        self.texts += new
        write_generated(Path(trainer.default_root_dir), self.texts)
        for board in [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoard)]:
            for index, text in enumerate(new):
                shown = f"    {text['prompt']}{text['text']}".replace("\n", "\n    ")  # a block of code in Markdown
                board.add_text(f"generated/{index}", shown, max(0, step - 1))

    def _continue(self, net: torch.nn.Module, index: int, prompt: str, step: int) -> Continuation:
        encoder, seed = self.data.encoder, self.data.seed
        (tokens,) = encoder.encode([prompt])
        generator = generator_for(seed, "generated", step, index)
        length = self.data.context_length
        new = generate(net, tokens or [encoder.end], self.tokens, length, self.temperature, generator)
        return {"step": step, "prompt": prompt, "text": encoder.decode(new)}
