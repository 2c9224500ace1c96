"""Laws of token lengths, a family a file; `workloads.lengths` is the union of all."""
