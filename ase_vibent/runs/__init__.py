"""Long runs: worker processes, and files that survive a kill."""
