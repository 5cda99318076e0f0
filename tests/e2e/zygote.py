"""Runs the programs in processes forked from one that has imported what they import: real processes, each with a
command line, a folder, an environment and an exit code of its own, without the seconds of every start.

Reads jobs from standard input, one JSON object a line, and answers each with its exit code, negative for a signal.
"""

import atexit
import gc
import importlib.util
import json
import os
import signal
import sys
import traceback

PRELOADED = (
    "hydra",
    "sklearn.datasets",
    "sparseift.build",
    "sparseift.callbacks",
    "sparseift.data.digits",
    "sparseift.models",
    "sparseift.module",
    "sparseift.profile",
    "sparseift.results",
    "sparseift.sparsifiers.callback",
    "sparseift.summary",
    "sparseift.train",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
)


def become(job: dict) -> int:
    """Turn this forked process into the one that was asked for; its exit code."""
    for number, (path, mode) in enumerate([(os.devnull, "r"), (job["stdout"], "w"), (job["stderr"], "w")]):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    sys.argv = [job["module"], *job["arguments"]]
    try:
        package = importlib.util.find_spec(job["module"]).submodule_search_locations
        importlib.import_module(job["module"] + (".__main__" if package else "")).main()
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has background jobs ignore Ctrl-C
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid == 0:
            code = become(json.loads(line))
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(code)  # taking down all that was imported would cost more than most jobs
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
