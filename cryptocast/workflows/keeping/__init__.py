"""What is archived, copied and removed."""
