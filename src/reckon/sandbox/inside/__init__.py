"""What runs in the process that untrusted programs are forked from. Standard library only."""
