"""``python -m fallline`` is the command line."""

from fallline.cli.main import main

main()
