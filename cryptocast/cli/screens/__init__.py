"""What stays on while a command runs: the status screen, the loop's screen, the served page."""
