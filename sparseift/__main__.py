"""sparseift VERB: all programs behind one command. `sparseift train` is `python -m sparseift.train`."""

from __future__ import annotations

import os
import runpy
import sys
from difflib import get_close_matches
from importlib import import_module

import sparseift

from .common.messages import one_line_errors, refuse

VERBS = {
    "train": "train a network, or sweep over several with -m",
    "profile": "print FLOPs and parameters by layer, without training",
    "evaluate": "test a finished run, on its own data or on other data",
    "predict": "apply the network of a run to files or to a text",
    "report": "summarize runs in tables, figures and a page",
    "compare": "show how two runs differ",
    "export": "write the network of a run for use without this package",
}

CONFIGURED = ("train", "profile")
"""Programs whose arguments Hydra completes."""

COMPLETION = ("-sc", "--shell-completion")
LINE = "COMP_LINE"
"""Environment variable in which a shell passes the line to complete."""


def main() -> None:
    """Run the program that the first argument names, as `python -m` does.

    Lightning and multiprocessing start further processes by the name of the main module, which is thus that of the
    program.
    """
    with one_line_errors():
        verb, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
        if verb in ("-h", "--help"):
            print(help_page())
        elif verb == "--version":
            print(f"sparseift {sparseift.__version__}")
        elif verb in COMPLETION:
            complete()
        elif verb in VERBS:
            sys.argv[1:] = arguments
            runpy.run_module(f"sparseift.{verb}", run_name="__main__", alter_sys=True)
        else:
            expected = get_close_matches(verb, VERBS, n=1) or ["one of " + ", ".join(VERBS)]
            refuse(f"VERB is {verb!r}; expected {expected[0]}")


def help_page() -> str:
    """Return the page of all verbs."""
    return "\n".join(
        [
            "sparseift VERB ...: train and compare sparse networks that cost the FLOPs of a dense network",
            "",
            *(f"  {verb:<10}{what}" for verb, what in VERBS.items()),
            "",
            "  sparseift VERB --help        options of a program",
            "  sparseift --version          version of this package",
            "  sparseift -sc install=bash   code for the shell that completes verbs, choices and options",
        ]
    )


def complete() -> None:
    """Complete a line for a shell, or print the code that makes the shell ask for it: the verb here, the rest by
    Hydra, which knows a program by the first word of a line.
    """
    command, _, line = os.environ.get(LINE, "").partition(" ")
    verb, ended, rest = line.lstrip().partition(" ")
    if not command:
        import_module("sparseift.train").main()
    elif not ended:
        print("\n".join(name for name in VERBS if name.startswith(verb)))
    elif verb in CONFIGURED:
        os.environ[LINE] = f"{command} {rest}"
        import_module(f"sparseift.{verb}").main()


if __name__ == "__main__":
    main()
