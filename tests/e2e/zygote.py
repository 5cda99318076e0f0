"""Runs the programs in processes forked from one that has imported what they import: real processes, each with a
command line, a folder, an environment and an exit code of its own, without the seconds of every start.

Reads jobs from standard input, one JSON object a line, and answers each with its exit code, negative for a signal. A
job of several processes, each of which has something else in its environment, ends when they all have; its exit code
is that of the first.
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
    "sparseift.app.build",
    "sparseift.training.callbacks",
    "sparseift.data.images.digits",
    "sparseift.models",
    "sparseift.training.module",
    "sparseift.app.program",
    "sparseift.app.run",
    "sparseift.app.train",
    "sparseift.profile",
    "sparseift.runs.results",
    "sparseift.training.callbacks.masks",
    "sparseift.runs.summary",
    "sparseift.train",
    "torch.utils.tensorboard",
    "torchvision.transforms.v2",
)


def become(job: dict, environment: dict) -> int:
    """Turn this forked process into the one that was asked for; its exit code."""
    for number, (path, mode) in enumerate([(os.devnull, "r"), (job["stdout"], "a"), (job["stderr"], "a")]):
        with open(path, mode) as file:
            os.dup2(file.fileno(), number)
    os.chdir(job["cwd"])
    sys.path.insert(0, job["cwd"])
    os.environ.update(environment)
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
        job, pids = json.loads(line), []
        for environment in job["environments"]:
            pids.append(os.fork())
            if pids[-1] == 0:
                code = become(job, environment)
                atexit._run_exitfuncs()
                sys.stdout.flush()
                os._exit(code)  # taking down all that was imported would cost more than most jobs
        first, *_ = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        print(first, flush=True)


if __name__ == "__main__":
    main()
