"""How kernels are compiled: numba with explicit vectors, threads."""
