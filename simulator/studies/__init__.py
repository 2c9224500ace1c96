"""Studies: many runs of the same simulator, and what they say together."""
