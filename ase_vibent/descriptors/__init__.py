"""Local atomic descriptors: from a structure to features of every atom."""
