"""Keeping the workspace in order: archives, backups, checks, and removal of what is spent."""
