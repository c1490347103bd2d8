"""Neighbour lists that are kept while atoms move little."""
