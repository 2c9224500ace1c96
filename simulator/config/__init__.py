"""The experiment file: its shape, its loader and what it resolves to."""
