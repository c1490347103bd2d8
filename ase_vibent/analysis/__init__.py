"""What site entropies depend on: lattice models, locality, truncation."""
