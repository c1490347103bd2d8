"""Reports: pages that need nothing else, with structures in 3D, tables and figures."""
