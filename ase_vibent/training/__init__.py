"""From labelled structures to a site model with its report."""
