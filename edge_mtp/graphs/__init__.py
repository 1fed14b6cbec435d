"""The only torch modules: Gemma 4 target, drafter and embedders, as LiteRT-LM calls them."""
