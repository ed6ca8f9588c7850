"""`python -m flows.cli` is `plumb`."""

from flows.cli.main import main

main()
