"""Exact labels of structures: one at a time, and many into a file."""
