"""`python -m crywatch.cli`: the command without its script, as schedules and rebuilds call it."""

from crywatch.cli.main import main

main()
