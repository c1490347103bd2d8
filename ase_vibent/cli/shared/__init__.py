"""What the commands share: arguments, files, tables."""
