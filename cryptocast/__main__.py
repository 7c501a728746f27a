"""Run the command line: `python -m cryptocast`."""

from cryptocast.cli import main

if __name__ == "__main__":
    main()
