"""Results on disk, and in other tools' formats."""
