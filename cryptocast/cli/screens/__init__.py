"""Views that stay on while a command runs: status, the loop, the served page."""
