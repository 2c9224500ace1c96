"""Speed of GPU kernels, one operation a file: the shape of its table in a profile and its formula.

The functions return float64 seconds of one layer on one GPU; docs/model.md states each formula.
"""
