"""The parts of scripts/reliability.

Every module here without a leading underscore is a part. Its name is the subcommand, and the first line of its
docstring the help. It defines

    def run(options: argparse.Namespace) -> Iterable[Row]    # yields or returns a `_row.Row` per case
    def add_arguments(parser: argparse.ArgumentParser) -> None    # optional: options of its own

`options` has the options of the part, `options.seed`, `options.processes` (how many processes to use), and
`options.folder`, an empty folder to work in. The same options give the same cases. A part imports torch and sparseift
inside `run`, so that --help stays fast. It starts programs with `_processes.Process`, which forks them from one process
that has imported everything: a program starts in milliseconds instead of seconds. `_processes.parallel` uses several
processes.

tests/scripts/test_reliability.py runs a small version of every part.
"""
