"""One file per room of the command tree, named as the command."""
