"""What is known to break a rule and does so still. Nothing is added here without a reason; the aim is that every list is empty."""

# Rooms in which object files need each other in a circle.
ROOMS_WITH_CIRCLES = set()

# (room, a later room that it needs), by an include or by a symbol.
FORWARD_NEEDS = set()

# Rooms whose meson.build does not open with what they are for, may use and must never do.
ROOMS_WITHOUT_PURPOSE = set()

LONG_FILES = {
}

LONG_FUNCTIONS = set()

DEEP_FUNCTIONS = set()

# Files that grow arrays by themselves instead of with lib/base/array.h.
GROWN_BY_HAND = set()

# (word, room) where a word of words.py stands for something it shall not stand for.
WORDS = set()
