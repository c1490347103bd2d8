"""Exact entropies of some sites of a large structure, beside those of a model."""
