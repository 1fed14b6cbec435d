"""Runs bundles: own loop over the exported graphs, and LiteRT-LM's engine. Never imports torch."""
