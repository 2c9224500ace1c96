"""Turning what was measured into laws: lengths, arrivals, dependence, and a whole workload.

One method a file. All of it takes values with weights and bins them first, so that millions of
rows cost no more than thousands, and none of it draws random numbers: same data, same fit.
"""
