"""`python -m app.cli` is `novella`."""

from app.cli import main

main(prog_name="novella")
