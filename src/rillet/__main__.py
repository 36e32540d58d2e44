"""`python -m rillet`."""

from rillet.cli import main

main()
