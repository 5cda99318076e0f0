"""Training with Lightning: the module, callbacks, checkpoints, loggers. Imports the packages of the method below it."""
