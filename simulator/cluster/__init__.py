"""Replicas behind a router, and the source that feeds them."""
