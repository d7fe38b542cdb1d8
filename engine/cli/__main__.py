"""``python -m engine.cli``: the command line where no script is installed, as the demo calls it."""

from engine.cli.start import main

main()
