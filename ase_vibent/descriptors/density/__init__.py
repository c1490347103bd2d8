"""Expansion of the neighbour density: what all descriptors made of it share, and its kernels."""
