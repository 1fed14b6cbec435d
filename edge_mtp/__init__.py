"""Gemma 4 E2B/E4B with its multi-token-prediction drafter, as one LiteRT-LM bundle."""

__version__ = "0.1.0"
