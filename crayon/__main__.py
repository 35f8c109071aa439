"""`python -m crayon`: the command line."""

from .cli import main

main()
