"""Settings of a run that do not affect its results."""

from __future__ import annotations

from collections.abc import Iterable

OBSERVERS = ("histograms", "learning_rate", "mask_pictures", "spectral")
"""Callbacks that only observe, and remember nothing."""

WITHOUT_EFFECT = (
    *("checkpoint.every_n_steps", "dataset.num_workers", "dataset.root", "dataset.cache"),
    *("trainer.benchmark", "trainer.compile", "trainer.matmul_precision", "trainer.channels_last"),
    *("trainer.send_active_gradients", "model.checkpointing"),
    *("trainer.accelerator", "trainer.log_every_n_steps", "trainer.profiler", "trainer.detect_anomaly"),
    *(f"callbacks.{name}" for name in OBSERVERS),
)
"""Options and nodes of the config that affect the results of a run at most by rounding."""


def within(key: str, nodes: Iterable[str]) -> bool:
    """Whether a dotted key is one of the nodes or below one of them."""
    return any(f"{key}.".startswith(f"{node}.") for node in nodes)
