"""Small runs in this process, from the composed config as the program would make them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import sparseift.app.program  # noqa: F401  (registers the resolvers of the configs)
from sparseift.app.build import TrainingParts, build_run
from sparseift.app.lasting import lasting_of

CONF = Path(__file__).parents[2] / "conf"
SMALL = (
    "dataset=digits",
    "trainer=cpu",
    "model.base_width=4",
    "dataset.batch_size=256",
    "recipe.epochs=2",
)
"""Two epochs of five steps of a narrow ResNet-18."""

UPDATES = "sparsifier.update_interval=6"
"""An update of the masks in step 6. The default interval is longer than the run, which is refused."""


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., TrainingParts]:
    def make(*overrides: str, folder: str = "run") -> TrainingParts:
        changed = {override.lstrip("+~").partition("=")[0] for override in overrides}
        moves = "member=dense" not in overrides and not any(key.startswith("sparsifier") for key in changed)
        usual = (*SMALL, UPDATES) if moves else SMALL
        defaults = [default for default in usual if default.partition("=")[0] not in changed]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("train", [*defaults, *overrides])
        return build_run(config, tmp_path / folder, settings=lasting_of(config))

    return make
