"""`python -m crayon`: the command line."""

from crayon.cli.app import main

main()
