"""The model card of a published network, made of results.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..common.console import plain
from .metric import Metric
from .summary import COSTS, sparsity

LICENSE = "# license: apache-2.0  (the license of the weights is yours to choose: remove the # and name it)"
OWN_PACKAGES = ("sparseift", "torch", "torchvision", "timm", "transformers")
"""Packages that the card names as dependencies, not as code of the author."""


def card(results: Mapping[str, Any], command: str | None, weights: str, targets: Iterable[str]) -> str:
    """Return the content of README.md.

    Args:
        results: The content of results.json.
        command: The command that repeats the run, if it is known.
        weights: Which weights are published.
        targets: Dotted names of the code that the config names.
    """
    parts = [
        "\n".join(["---", _metadata(results).rstrip(), LICENSE, "---"]),
        f"# {_title(results)}",
        plain(_introduction(results, weights)),
        _table("", _rows(results)),
        _use(targets),
    ]
    if results.get("preprocessing"):
        parts.append("## Inputs\n\n" + _table("option", _inputs(results["preprocessing"])))
    parts.append("\n\n".join(_training(results, command)))
    return "\n\n".join(parts) + "\n"


def _metadata(results: Mapping[str, Any]) -> str:
    import yaml

    found = [
        {"type": metric.name, "name": f"{metric.label} {metric.unit}".rstrip(), "value": _shown(metric, results)}
        for metric in _metrics(results)
    ]
    data = {"name": results["dataset"], "type": results["dataset"]}
    result = {"task": {"type": results["task"]}, "dataset": data, "metrics": found}
    names = [results[key] for key in ("member", "sparsifier", "pattern", "model")]
    content = {
        "library_name": "sparseift",
        "tags": list(dict.fromkeys(["sparse", "sparse-ift", *names])),
        "model-index": [{"name": _title(results), "results": [result]}],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _metrics(results: Mapping[str, Any]) -> list[Metric]:
    return [Metric.from_dict(described) for described in results["metrics"]]


def _shown(metric: Metric, results: Mapping[str, Any]) -> float:
    value = metric.shown(results["test"][metric.name])
    return round(value, metric.decimals(value))


def _title(results: Mapping[str, Any]) -> str:
    kind = results["member"] if results["distribution"] is None else f"{results['member']} {results['sparsity']:g}"
    return plain(f"{results['model']} {kind} on {results['dataset']}")


def _introduction(results: Mapping[str, Any], weights: str) -> str:
    what = f"`{results['model']}`"
    if results["member"] != "dense":
        what += f", transformed by `{results['member']}`"
    text = f"{what}, trained on `{results['dataset']}` with sparseift. These are the {weights} weights of the run. "
    if results["distribution"] is None:
        return text + "No weight is masked."
    stored, active = results["params"]["stored"], results["params"]["active"]
    ratio = results["flops"]["ratio"]
    return text + (
        f"{active:,} of {stored:,} parameters are active; the others are zero. One sample costs {ratio:.4f} of the "
        "FLOPs of the dense network."
    )


def _rows(results: dict[str, Any] | Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    run = dict(results)
    yield "data", run["dataset"]
    for metric in _metrics(run):
        yield f"test {metric.label}", f"{metric.text(run['test'][metric.name])} (one run, seed {run['seed']})"
    yield "member", run["member"]
    yield "sparsity", sparsity(run)
    for name in ("sparsifier", "pattern"):
        yield name, run[name]
    yield from ((name, text(run)) for name, text in COSTS.items())
    yield "epochs", f"{run['epochs']} ({run['steps']} steps)"
    if run.get("partial"):
        yield "partial run", run["partial"]


def _inputs(described: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in described.items():
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(header: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {header} | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {_cell(text)} |" for name, text in rows)])


def _cell(text: str) -> str:
    return plain(text).replace("|", r"\|").replace("<", "&lt;")


def _use(targets: Iterable[str]) -> str:
    own = sorted({target.partition(".")[0] for target in targets}.difference(OWN_PACKAGES))
    needs = f" It needs the Python modules {', '.join(own)}, which the network or its task is made of." if own else ""
    return f"""## Use

```python
import sparseift
from huggingface_hub import snapshot_download

loaded = sparseift.load(snapshot_download("OWNER/NAME"))  # or the path of this folder
loaded.network, loaded.masks, loaded.plan, loaded.preprocessing
```

This needs torch and numpy besides sparseift, whose repository says how to install it.{needs} `model.safetensors` is a
plain state dict, in which masked weights are zero, `masks.safetensors` has the bits of the masks, `plan.json` the FLOPs
and weights of every layer, and `config.json` the config of the run."""


def _training(results: Mapping[str, Any], command: str | None) -> Iterator[str]:
    yield "## Training"
    if command:
        yield f"```bash\n{plain(command)}\n```"
    if versions := results.get("versions"):
        yield f"Trained with {', '.join(f'{name} {version}' for name, version in versions.items())}."
