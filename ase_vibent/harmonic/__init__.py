"""From a Hessian to modes, entropy, site entropies and gradients."""
