"""What Hydra 1.3 and 1.4 want said differently. Everything else of Hydra is used in a way that both have."""

from __future__ import annotations

import warnings
from typing import Any

import hydra
from omegaconf import OmegaConf

IS_1_3 = hydra.__version__.startswith("1.3.")

VERSION_BASE: dict[str, str] = {"version_base": "1.3"} if IS_1_3 else {}
"""Argument of Hydra's functions: 1.3 warns that it is missing, and 1.4 that it is deprecated."""

ANY_TARGET: dict[str, Any] = (
    {} if IS_1_3 else {"_execution_whitelist_": getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)}
)
"""Argument of `instantiate`: a config may name any code. It is as trusted as code (docs/security.md)."""

register_resolver: Any = OmegaConf.register_new_resolver if IS_1_3 else OmegaConf.register_resolver
"""OmegaConf 2.4 has given the function another name."""

if not IS_1_3:  # Hydra itself makes the callback in conf/train.yaml
    warnings.filterwarnings("ignore", r"hydra\.utils\.instantiate\(\) resolved _target_='sparseift\.app\.launchers")
