"""Training with Lightning: module, callbacks, checkpoints, loggers. Imports the method, `data`, `tasks` and `runs`."""
