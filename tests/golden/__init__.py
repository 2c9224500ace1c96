"""Whole experiments whose numbers and tables are kept beside the tests."""
