"""Random numbers for pauses, so that processes do not all ask the database at the same moment.

The generator of ``random`` belongs to the application.  One that seeds it gets the numbers that it
expects, and does not give all its processes the same pauses.
"""

from __future__ import annotations

from random import SystemRandom
from typing import Final

__all__ = ["RANDOM"]

# Has no state: processes that are forked later differ too.
RANDOM: Final = SystemRandom()
