"""``python -m reckon`` is the command ``reckon``."""

from reckon.cli import main

if __name__ == "__main__":
    main()
