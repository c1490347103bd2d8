"""The perfect crystal: phonons on q-meshes, converged bulk values, crystals behind defects."""
