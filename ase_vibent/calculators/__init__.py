"""ASE calculators of vibrational entropy: exact ones, and surrogates."""
