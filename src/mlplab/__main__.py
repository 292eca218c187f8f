"""`python -m mlplab`: the same as the command `mlplab`."""

from mlplab.cli import main

if __name__ == "__main__":
    main()
