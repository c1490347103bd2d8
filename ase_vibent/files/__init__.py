"""Files: how they are written, and how archives of arrays from anywhere are read."""
