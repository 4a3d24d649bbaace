"""bftnode beside what a user would pick instead, on one machine, with one load, in turns: `./scripts/compare`.

Owns how the others are installed, started, loaded and ended, and how what was measured is told. Measures daemons and
command lines as users run them; knows nothing of what is inside.
"""
