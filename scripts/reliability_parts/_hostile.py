"""Run folders that are damaged or made to do harm."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS, CONFIG, OVERRIDES = "results.json", ".hydra/config.yaml", ".hydra/overrides.yaml"
HYDRA, METRICS, ERROR = ".hydra/hydra.yaml", "metrics.csv", "error.txt"
FILES = (RESULTS, CONFIG, OVERRIDES, HYDRA, METRICS, ERROR)

LAYER = {"name": "conv1", "stored": 400, "active": 100, "flops": 3000}
GOOD: dict[str, Any] = {  # results.json of version 1, which every version reads
    **{"model": "resnet18_cifar", "member": "sparse_wide", "sparsity": 0.75, "distribution": "uniform"},
    **{"sparsifier": "rigl", "dataset": "digits", "seed": 0, "epochs": 2, "steps": 20, "seconds": 1.5},
    "test": {"loss": 0.5, "acc1": 0.9, "acc5": 0.99},
    "val": {"loss": 0.5, "acc1": 0.9, "acc5": 0.99},
    "flops": {"budget": 5100, "forward": 5100, "forward_stored": 15000, "ratio": 1.0, "train_total": 61_000_000},
    "params": {"stored": 550, "active": 250},
    "layers": [LAYER],
}
SETTINGS = "model: {name: a}\nrecipe: {epochs: 2}\nmember: {}\nsparsity: {level: 0.75}\nsparsifier: {}\n"
ROWS = (
    "step,epoch,val/acc1,train/flops,train/loss_epoch,masks/replaced\n"
    "9,0,0.5,30e6,0.5,0.1\n9,0,,,0.4,\n19,1,0.9,61e6,0.3,0.1\n"
)
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b[31mred\u202e\u2066\x9b1m"
FORMULA = "=cmd|' /C calc'!A0"
MARKDOWN = "```\n](javascript:alert(1)) | a | ![x](y) <b>"
MATH = r"$\frac{1}{2$ $$ \undefined{x}$"
MIB = 2**20


def write_run(folder: Path, finished: bool = True, config: str = SETTINGS, **results: Any) -> None:
    """Write a run folder. results: changed entries of results.json."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / CONFIG).write_text(config)
    (folder / OVERRIDES).write_text("[member=sparse_wide, seed=0]\n")
    (folder / METRICS).write_text(ROWS)
    if finished:
        (folder / RESULTS).write_text(json.dumps(GOOD | results))


Case = Callable[[Path], None]


def with_results(**results: Any) -> Case:
    return lambda folder: write_run(folder, **results)


def with_setting(text: str) -> Case:
    """A setting that other runs lack, so that it is shown in a column."""
    return lambda folder: write_run(folder, config=f"{SETTINGS}callbacks: {{mine: {{{json.dumps(text)}: 1}}}}\n")


def with_file(name: str, content: str | bytes, finished: bool = True) -> Case:
    def write(folder: Path) -> None:
        write_run(folder, finished)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def instead_of(name: str, make: Callable[[Path], Any]) -> Case:
    """Something that is not a regular file. Without results.json, error.txt is read."""

    def replace(folder: Path) -> None:
        write_run(folder, finished=name not in (ERROR, METRICS))
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return replace


def sparse(name: str, size: int, finished: bool = True) -> Case:
    def write(folder: Path) -> None:
        write_run(folder, finished)
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return write


def in_a_chain(levels: int) -> Case:
    """A run below so many folders that no path of a file in it is allowed."""

    def make(folder: Path) -> None:
        write_run(folder)
        here = os.open(folder, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir("a" * 100, dir_fd=here)
            below = os.open("a" * 100, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)

    return make


def link_to(target: str) -> Case:
    def make(folder: Path) -> None:
        write_run(folder)
        (folder / "link").symlink_to(target)

    return make


def listen(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a path of a socket must be short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def results_with(text: str, replacement: str) -> Case:
    return with_file(RESULTS, json.dumps(GOOD).replace(text, replacement))


SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "/dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a socket": listen,
}


def spread_of(number: float) -> Case:
    """Two more runs of the same settings, with scores that far apart."""

    def make(folder: Path) -> None:
        for seed, score in enumerate((number, -number, 0.0)):
            write_run(folder / str(seed), seed=seed, test={"loss": 0.5, "acc1": score, "acc5": 0.5})

    return make


CASES: dict[str, dict[str, Case]] = {
    "not a regular file": {
        f"{name} is {what}": instead_of(name, make) for name in FILES for what, make in SPECIAL.items()
    },
    "nested or endless": {
        "deep lists in results.json": with_file(RESULTS, "[" * MIB),
        "deep objects in results.json": with_file(RESULTS, '{"a":' * (MIB // 5)),
        "deep entry of results.json": with_results(layers=json.loads("[" * 500 + "]" * 500)),
        "deep lists in config.yaml": with_file(CONFIG, "[" * 200_000),
        "deep mappings in config.yaml": with_file(CONFIG, "{a: " * 50_000),
        "deep blocks in config.yaml": with_file(CONFIG, "- " * 100_000),
        "deep setting": with_file(CONFIG, f"{SETTINGS}x: {'[' * 300}{']' * 300}\n"),
        "alias to itself": with_file(CONFIG, f"{SETTINGS}x: &x [*x]\n"),
        "alias bomb": with_file(
            CONFIG, SETTINGS + "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{f'*a{i}, ' * 9}]\n" for i in range(30))
        ),
        "alias bomb in hydra.yaml": with_file(
            HYDRA, "".join(f"- &a{i} [{f'*a{i - 1}, ' * 9 * (i > 0)}]\n" for i in range(30))
        ),
        "merge of itself": with_file(CONFIG, f"{SETTINGS}x: &x {{<<: *x}}\n"),
        "folders in folders": in_a_chain(60),
        "link to the folder above": link_to(".."),
        "link to the root": link_to("/"),
        "links to each other": link_to("link"),
    },
    "large": {
        "results.json of 8 GiB": sparse(RESULTS, 2**33),
        "config.yaml of 8 GiB": sparse(CONFIG, 2**33),
        "metrics.csv of 8 GiB": sparse(METRICS, 2**33),
        "error.txt of 8 GiB": sparse(ERROR, 2**33, finished=False),
        "results.json of many values": with_file(RESULTS, "[" + "{}," * MIB + "1]"),
        "config.yaml of many values": with_file(CONFIG, SETTINGS + "x: [" + "1," * 120_000 + "1]\n"),
        "metrics.csv of many rows": with_file(METRICS, "step\n" + "1\n" * 10_000_000),
        "metrics.csv of empty rows": with_file(METRICS, "step\n" + ",\n" * 10_000_000),
        "metrics.csv of many columns": with_file(METRICS, "step," + "masks/a," * MIB + "\n1," + "1," * MIB + "\n"),
        "metrics.csv of one long cell": with_file(METRICS, 'step\n"' + "1" * MIB),
        "many panels": with_file(
            METRICS, "step,masks/replaced," + ",".join(f"masks/x{i}" for i in range(3000)) + "\n1" + ",1" * 3001 + "\n"
        ),
        "error.txt of one long line": with_file(ERROR, "x" * 10 * MIB, finished=False),
        "a long name": with_results(model="m" * 300, dataset="d" * 300),
        "a long name of letters of four bytes": with_results(model="\U0001f600" * 300),
        "a very long name": with_results(model="m" * MIB),
        "a long setting": with_setting("x" * 300),
        "a very long setting": with_setting("x" * 100_000),
        "a number of many digits in results.json": results_with('"seed": 0', f'"seed": {"1" * 100_000}'),
        "a number of 4,000 digits": results_with('"seed": 0', f'"seed": {"1" * 4000}'),
        "a hexadecimal number in config.yaml": with_file(CONFIG, f"{SETTINGS}x: 0x{'f' * 200_000}\n"),
        "a number to the base of 60": with_file(CONFIG, f"{SETTINGS}x: {':'.join(['1'] * 100_000)}\n"),
    },
    "not text": {
        "a lone surrogate in results.json": results_with('"digits"', '"\\ud800"'),
        "a lone surrogate in config.yaml": with_file(CONFIG, f'{SETTINGS}x: "\\ud800"\n'),
        **{f"bytes in {name}": with_file(name, b"\xff\xfe\x00\x80" * 100, finished=name != ERROR) for name in FILES},
        **{f"{name} is empty": with_file(name, "", finished=name != ERROR) for name in FILES},
        **{f"NUL bytes in {name}": with_file(name, bytes(4096), finished=name != ERROR) for name in FILES},
    },
    "other types": {
        **{
            f"{key} is {text}": results_with(f'"{key}": {json.dumps(GOOD[key])}', f'"{key}": {text}')
            for key in ("seed", "epochs", "steps", "sparsity", "model", "test", "flops", "params", "layers", "seconds")
            for text in ("NaN", '"="', "[[]]")
        },
        "results.json is null": with_file(RESULTS, "null"),
        "config.yaml is a list": with_file(CONFIG, "[member, sparsity, sparsifier]\n"),
        "config.yaml is a number": with_file(CONFIG, "1\n"),
        "keys that are no text in config.yaml": with_file(CONFIG, f"{SETTINGS}x: [{{1: a, b: c, ~: d}}]\n"),
        "a set in config.yaml": with_file(CONFIG, f"{SETTINGS}x: !!set {{a, b}}\n"),
        "a date in config.yaml": with_file(CONFIG, f"{SETTINGS}x: 2020-01-01\n"),
        "a Python object in config.yaml": with_file(CONFIG, f"{SETTINGS}x: !!python/object/apply:os.abort []\n"),
        "overrides.yaml is a mapping": with_file(OVERRIDES, "{a: b}\n"),
        "overrides.yaml of lists": with_file(OVERRIDES, "[[a], {b: c}, 1, null]\n"),
        "hydra.yaml of other types": with_file(
            HYDRA, "hydra: {runtime: {config_sources: 1}, overrides: {hydra: [1]}}\n"
        ),
        "hydra.yaml with a number as path": with_file(
            HYDRA,
            "hydra: {runtime: {config_sources: [{provider: command-line, path: 1}]}, overrides: {hydra: []}}\n",
        ),
        "text in metrics.csv": with_file(METRICS, "step,val/acc1\na,b\n"),
    },
    "numbers": {
        "huge scores": spread_of(9e59),
        "tiny scores": spread_of(5e-324),
        "tiny steps": with_results(steps=5e-324),
        "huge steps": with_results(steps=10**59),
        "layers without weights": with_results(layers=[{**LAYER, "stored": 5e-324, "active": 9e59}]),
        "negative numbers": with_results(sparsity=-1.0, epochs=-1, seconds=-1.0, seed=-1),
        "huge numbers in metrics.csv": with_file(METRICS, ROWS.replace("0.5", "1e308").replace("61e6", "-1e308")),
        "no numbers in metrics.csv": with_file(METRICS, ROWS.replace("0.5", "nan").replace("61e6", "inf")),
        "a huge step in metrics.csv": with_file(METRICS, ROWS.replace("\n19,", "\n1e59,")),
    },
    "text that programs obey": {
        f"{what} as {where}": make
        for what, text in {
            "HTML": SCRIPT,
            "escape sequences": ESCAPES,
            "a formula": FORMULA,
            "Markdown": MARKDOWN,
            "mathtext": MATH,
            "styles of the terminal": "[bold][/x][link=file:///]",
            "an underscore": "_x",
            "a template": "{{ 1/0 }}{% raw %}{metric}{0}",
        }.items()
        for where, make in {
            "data set": with_results(dataset=text),
            "member": with_results(member=text),
            "setting": with_setting(text),
            "override": with_file(OVERRIDES, json.dumps([f"x={text}"])),
            "error": with_file(ERROR, text, finished=False),
            "metric": with_results(
                version=2,
                **{"task": text, "pattern": text, "backend": text},
                metrics=[{"name": text, "label": text, "unit": text, "higher_is_better": True}],
                test={text: 0.5, "loss": 0.5},
            ),
        }.items()
    },
}
