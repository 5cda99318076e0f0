"""Settings of all tests, and what more than one folder of them needs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from .e2e.programs import Zygote

settings.register_profile("sparseift", deadline=None)  # machines are noisy, and several tests run at a time
settings.load_profile("sparseift")


@pytest.fixture(scope="session")
def program(tmp_path_factory) -> Iterator[Zygote]:
    """Runs any of the programs."""
    zygote = Zygote(tmp_path_factory.mktemp("logs"))
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id) -> Path:
    """A folder that all workers of this test session see."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent
