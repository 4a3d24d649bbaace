"""Small worlds, all of them: sets that are finite, cut into units (work.py), and played to the last.

`rounds.py` is the world: what is said in one round arrives in the next. `frozen.py` keeps one to go on from, again and
again. `twins.py`: all worlds of a member that stands at two places, over three views. What is exhaustive is exhaustive
up to the symmetries that each set names, and no further than the world that it describes.
"""
