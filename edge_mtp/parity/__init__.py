"""Proves on a desktop that a bundle says what its checkpoints say, and what MTP costs and gains."""
