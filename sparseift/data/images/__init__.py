"""Labelled images: one module for each data set. Imports torchvision and `data`."""
