"""How tests start the programs, and what they get back."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import sparseift

HERE = Path(__file__).parent
SOURCE = str(Path(sparseift.__file__).parents[1])
QUICK = (
    "dataset=digits",
    "trainer=cpu",
    "model.base_width=4",
    "dataset.batch_size=128",
    "recipe.epochs=1",
    "export=false",
)
"""Ten steps of a narrow ResNet-18; 1,238 images to train on."""

BATCHES = [128] * 9 + [86]
"""Images of the steps of an epoch of QUICK."""


UPDATES = "sparsifier.update_interval=2"
"""Updates of masks in steps 2, 4 and 6 of QUICK; the default interval is longer than the run, which is refused."""


def quick(*overrides: str) -> list[str]:
    """QUICK with changes. RigL and SET, and thus the default, get UPDATES unless the interval is among the changes."""
    changed = {override.lstrip("+~").partition("=")[0]: override.partition("=")[2] for override in overrides}
    usual = "none" if "dense" in changed.get("member", "").split(",") else "rigl"
    moves = changed.get("sparsifier", usual) in ("rigl", "set")
    defaults = (*QUICK, UPDATES) if moves else QUICK
    return [default for default in defaults if default.partition("=")[0] not in changed] + list(overrides)


def environment(**changes: str) -> dict[str, str]:
    """Of a child process: sees the package and the helpers of this folder, one thread, no accelerator, no network."""
    nowhere = "http://127.0.0.1:9"
    return {
        **{name: value for name, value in os.environ.items() if name not in ("SPARSEIFT_DATA", "PYTEST_CURRENT_TEST")},
        "PYTHONPATH": os.pathsep.join([SOURCE, str(HERE), str(HERE.parent)]),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "http_proxy": nowhere,
        "https_proxy": nowhere,
        "no_proxy": "",
        **changes,
    }


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    def __repr__(self) -> str:
        return f"exit code {self.code}, stdout ends in {self.out[-300:]!r}, stderr in {self.err[-300:]!r}"

    def mistake(self) -> str:
        """The one line that a user's mistake must end in."""
        assert self.code == 2, self
        assert self.err.count("\n") == 1 and self.err.endswith("\n"), self
        assert self.err.startswith("sparseift: "), self
        assert self.out == "", self
        return self.err.removeprefix("sparseift: ").strip()


class Zygote:
    """Starts programs from zygote.py, one after the other."""

    def __init__(self, logs: Path):
        self.logs = logs
        self._start()

    def _start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def __call__(self, module: str, arguments: Iterable[str], cwd: Path, ranks: int = 1, **env: str) -> Outcome:
        """module: its main() runs. The environment differs from `environment()` by `env`. ranks: of processes that are
        started as torchrun does it; what comes back is of all of them, and the exit code of the first."""
        out, err = self.logs / "stdout", self.logs / "stderr"
        for file in (out, err):
            file.write_text("")
        environments = [env | variables for variables in (torchrun(ranks) if ranks > 1 else [{}])]
        job = {"module": module, "arguments": list(arguments), "cwd": str(cwd), "environments": environments}
        print(json.dumps(job | {"stdout": str(out), "stderr": str(err)}), file=self.process.stdin, flush=True)
        try:
            code = int(self.process.stdout.readline())
        except BaseException:  # a time-out: the answer that still comes must not be taken for that of the next job
            self.process.kill()
            self._start()
            raise
        return Outcome(code, out.read_text(), err.read_text())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def torchrun(ranks: int) -> list[dict[str, str]]:
    """What it tells each of the processes that it starts on one node."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}", "WORLD_SIZE": f"{ranks}", "GROUP_RANK": "0"}
    common |= {"LOCAL_WORLD_SIZE": f"{ranks}", "TORCHELASTIC_RUN_ID": "test"}
    return [common | {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}"} for rank in range(ranks)]


def once(folder: Path, make) -> Path:
    """`folder`, made by make(folder) in whichever process of the test session asks for it first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial)
            partial.rename(folder)
    return folder


def name_of(arguments: Iterable[str]) -> str:
    return hashlib.sha256(repr(list(arguments)).encode()).hexdigest()[:12]


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def lasting(folder: Path) -> dict[str, Any]:
    """What two runs that do the same must agree on: all but the time that they took, and its checksum."""
    return {key: value for key, value in results(folder).items() if key not in ("seconds", "crc32")}


def metrics(folder: Path) -> list[dict[str, str]]:
    """The filled cells of each row of metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    """The checkpoint with dense tensors."""
    saved = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return dense(saved, masks_of(saved))


def dense(content: Any, masks: dict[str, Tensor]) -> Any:
    """Without packed tensors: values at the places of the ones of a mask, zeros at the others; bits that are coded."""
    if isinstance(content, dict) and "coded" in content:
        return decoded(content)
    if isinstance(content, dict) and "masked_by" in content:
        mask = unpacked(masks[content["masked_by"]], content["shape"]).numpy()
        array = np.zeros(mask.shape, dtype=content["values"].numpy().dtype)
        array[mask] = content["values"].numpy()
        if "negative_zeros" in content:
            array[unpacked(content["negative_zeros"], content["shape"]).numpy()] = -0.0
        return torch.from_numpy(array)
    if isinstance(content, dict):
        return {key: dense(value, masks) for key, value in content.items()}
    return [dense(value, masks) for value in content] if isinstance(content, list) else content


def network_state(folder: Path) -> dict[str, Tensor]:
    state = checkpoint(folder)["state_dict"]
    return {name.removeprefix("net."): value for name, value in state.items() if name.startswith("net.")}


def masks_of(saved: dict[str, Any]) -> dict[str, Tensor]:
    """Packed bits by layer name, wherever the callback's state is."""
    masks = next((state["masks"] for state in saved["callbacks"].values() if "masks" in state), {})
    return {name: decoded(bits) if isinstance(bits, dict) else bits for name, bits in masks.items()}


def decoded(bits: dict[str, Tensor]) -> Tensor:
    return torch.from_numpy(np.frombuffer(zlib.decompress(bits["coded"].numpy().tobytes()), dtype=np.uint8).copy())


def saved_masks(folder: Path, name: str = "last") -> dict[str, Tensor]:
    masks = masks_of(checkpoint(folder, name))
    assert masks
    return masks


def unpacked(bits: Tensor, shape: tuple[int, ...]) -> Tensor:
    ones = np.unpackbits(bits.numpy(), bitorder="little")
    numel = torch.Size(shape).numel()
    assert not ones[numel:].any()
    return torch.from_numpy(ones[:numel].astype(bool)).view(*shape)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
