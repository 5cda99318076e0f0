"""What the command line is turned into before Hydra sees it, and what a user is told."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException

from sparseift import UserError
from sparseift.app import help, messages, overrides, program


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sparsity=0.75", "sparsity.level=0.75"),
        ("sparsity=1", "sparsity.level=1"),
        ("sparsity=1e-1", "sparsity.level=1e-1"),
        ("sparsity=0.5,0.75,0.9", "sparsity.level=0.5,0.75,0.9"),
        ("sparsity=range(0.5,0.95,0.15)", "sparsity.level=range(0.5,0.95,0.15)"),
        ("sparsity=interval(0.5,0.9)", "sparsity.level=interval(0.5,0.9)"),
        ("sparsity=choice(0.5,0.9)", "sparsity.level=choice(0.5,0.9)"),
        ("sparsity=erk", "sparsity=erk"),
        ("sparsity=uniform,erk", "sparsity=uniform,erk"),
        ("sparsity.level=0.9", "sparsity.level=0.9"),
        ("seed=0,1", "seed=0,1"),
        ("experiment=cifar100/resnet18,imagenet/resnet34", "experiment=cifar100/resnet18,imagenet/resnet34"),
        ("-m", "-m"),
        ("--cfg", "--cfg"),
    ],
)
def test_plain_sparsities(typed: str, meant: str) -> None:
    assert overrides.plain_choice(typed) == meant


@pytest.mark.parametrize("typed", ["sparsity=0.5,erk", "sparsity=erk,0.5"])
def test_a_mixture_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match=r"sweep both: sparsity=uniform,erk sparsity\.level="):
        overrides.plain_choice(typed)


def test_one_line_of_several() -> None:
    assert messages.described(ValueError("one\n  two\n\nthree")) == "one two three"
    told = messages.described(ValueError("Could not find 'model/x'\n\nConfig search path:\n\tprovider=hydra"))
    assert told.startswith("model is 'x'; expected one of botnet26, ")


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [("recipe.epoch", "recipe.epochs"), ("sede", "seed"), ("sparsifier.drop_frac", "sparsifier.drop_fraction")],
)
def test_unknown_options_are_answered_with_the_nearest(key: str, suggestion: str) -> None:
    told = messages.described(ValueError(f"Could not override '{key}'.\nTo append to your config use +{key}=1"))
    assert told.startswith(f"there is no option '{key}'; did you mean {suggestion}")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("callbacks.ema.decay", "callbacks.ema.decay needs callbacks=[ema]; expected one of channels_last, ema, "),
        ("logger.wandb.project", "logger.wandb.project needs logger=[wandb]; expected one of mlflow, "),
        ("callbacks.emma.decay", "callbacks.emma.decay needs callbacks=[CHOICE]; expected one of channels_last, ema, "),
    ],
)
def test_an_option_of_a_choice_that_was_not_made(key: str, told: str) -> None:
    folder = str(overrides.config_folder())
    with initialize_config_dir(folder, version_base="1.3"), pytest.raises(ConfigCompositionException) as raised:
        compose("train", [f"{key}=1"])
    assert messages.described(raised.value).startswith(told)


def test_known_keys_are_those_of_the_config() -> None:
    keys = set(help.known_keys())
    assert {"seed", "sparsity", "sparsity.level", "recipe.optimizer.lr", "checkpoint.every_n_steps"} <= keys


def test_help_takes_the_first_comment_that_says_something(tmp_path: Path) -> None:
    file = tmp_path / "choice.yaml"
    file.write_text("# @package _global_\n# What it is\n# More of it\nkey: 1 # a number\n")
    assert help.summary(file) == "What it is"
    file.write_text("key: 1\n")
    assert help.summary(file) == ""


@pytest.mark.parametrize(("error", "code"), [(UserError("wrong\nhere"), 2), (KeyboardInterrupt(), 130)])
def test_exit_codes(capsys, error: BaseException, code: int) -> None:
    with pytest.raises(SystemExit) as stopped, messages.one_line_errors():
        raise error
    assert stopped.value.code == code
    out, err = capsys.readouterr()
    assert out == "" and err == ("sparseift: wrong here\n" if code == 2 else "sparseift: interrupted\n")


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), messages.one_line_errors():
        raise ZeroDivisionError


def test_help_and_mistakes_name_choices_in_sub_folders() -> None:
    assert re.search(r"^    cifar100/resnet18_dense +\S", help.help_page(""), re.MULTILINE)
    with pytest.raises(UserError, match=r"cifar100/resnet18_dense, .*, digits/quickstart, "):
        overrides.plain_choice("experiment=18")


def test_help_says_what_else_a_choice_sets() -> None:
    page = help.help_page("")
    assert re.search(r"^    digits  .*\n +sets recipe: short$", page, re.MULTILINE)
    assert re.search(r"^    dense  .*\n +sets sparsifier: none$", page, re.MULTILINE)
    with initialize_config_dir(str(overrides.config_folder()), version_base="1.3"):
        default = choices_with()
        for group in help.groups():
            for name, file in overrides.choices_of(group).items():
                if group.name in ("dataset", "member"):
                    changed = choices_with(f"{group.name}={name}").items() - default.items()
                    assert changed - {(group.name, name)} <= help.sets(file).items()
                elif group.name != "experiment":
                    assert help.sets(file) == {}


def choices_with(*overrides: str) -> dict[str, str | None]:
    return dict(compose("train", list(overrides), return_hydra_config=True).hydra.runtime.choices)


def test_help_composes_nothing(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["program", "model=nonsense", "--help"])
    program.run(lambda config: pytest.fail("ran"), "train", "What it does")
    out = capsys.readouterr().out
    assert out.startswith("What it does\n") and "sparse_parallel" in out


def test_help_lists_the_choices_of_other_folders(tmp_path: Path, monkeypatch, capsys) -> None:
    """Also those of a group that the package does not have."""
    for name, comment in {"model/mine": "My network", "model/gpt": "My GPT", "shapes/round": "Circles"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(f"# {comment}\n_target_: mine\n")
    monkeypatch.setattr(sys, "argv", ["program", "--config-dir", str(tmp_path), "--help"])
    program.run(lambda config: pytest.fail("ran"), "train", "What it does")
    groups = re.split(r"^  (\S+)\n", capsys.readouterr().out, flags=re.MULTILINE)
    listed = dict(zip(groups[1::2], groups[2::2], strict=True))
    assert re.search("^    mine +My network$", listed["model"], re.MULTILINE)
    assert re.search("^    gpt +My GPT$", listed["model"], re.MULTILINE)
    assert listed["model"].count("    gpt ") == 1 and "    resnet18 " in listed["model"]
    assert re.search("^    round +Circles$", listed["shapes"], re.MULTILINE)


@pytest.mark.parametrize(
    ("rank", "restarts", "failed", "saved", "requeues"),
    [
        ("0", 2, False, False, True),
        ("1", 2, False, False, True),  # it may be rank 0 that has ended
        ("3", 2, False, False, False),
        ("1", 2, True, False, False),
        ("0", 3, False, False, False),
        ("0", 3, False, True, True),
    ],
)
def test_who_returns_a_job_to_the_queue_outside_of_training(
    tmp_path: Path, monkeypatch, rank: str, restarts: int, failed: bool, saved: bool, requeues: bool
) -> None:
    task = {"SUBMITIT_FOLDER": str(tmp_path), "SLURM_STEP_ID": "0", "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
    for name, value in (task | {"SLURM_RESTART_COUNT": str(restarts)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    monkeypatch.setattr(program.slurm, "requeue", lambda: True)
    monkeypatch.setattr(program.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(program.HydraConfig, "initialized", lambda: True)
    run = SimpleNamespace(runtime=SimpleNamespace(output_dir=str(tmp_path)))
    monkeypatch.setattr(program.HydraConfig, "get", lambda: run)
    if failed:
        (tmp_path / f"failed_{restarts}").touch()
    if saved:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints/last.ckpt").touch()
    assert program._requeued() is requeues
