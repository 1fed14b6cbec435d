"""Reads checkpoint directories; never writes to them."""
