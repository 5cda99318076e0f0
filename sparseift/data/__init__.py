"""Data modules, one file a data set: say how its images are loaded, the rest is in `base`."""
