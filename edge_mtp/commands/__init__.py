"""Thin click commands, one file each."""
