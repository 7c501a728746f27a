"""Common parts of all commands: their options, their answer, and how it is shown."""
