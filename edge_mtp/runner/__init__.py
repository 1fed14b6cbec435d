"""Runs bundles."""
