"""Arrival processes, a family a file; `workloads.arrivals` is the union of all."""
