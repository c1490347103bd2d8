"""Linear least squares in bounded memory; knows nothing of atoms."""
