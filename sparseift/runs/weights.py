"""The weights of a run that programs can use."""

WEIGHTS = ("last", "best", "average")
"""The weights after the last step, those of best.ckpt, and the average of a run with callbacks=[ema]."""

WHICH = "average: that of a run with callbacks=[ema] (default: the weights that the run has tested)"
"""What a help page says about them."""
