"""`python -m mlplab.cli`."""

from mlplab.cli import main

main()
