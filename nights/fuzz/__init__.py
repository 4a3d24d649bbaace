"""Decoders and validators under hostile bytes, found by coverage (atheris, which is libFuzzer for Python).

    python -m nights.fuzz list                      the targets, and what each one holds against what
    python -m nights.fuzz play 0 4                  units 0 to 3 of the set, as the campaign plays them
    python -m nights.fuzz frames FILE               one input again
    python -m nights.fuzz --branches                how much of the readers the kept inputs reach

`targets/` says what is read and what must hold of it, `oracle.py` what must hold of every input, `trees.py` and
`texts.py` how inputs are changed, `player.py` is the process in which libFuzzer runs, `work.py` the set. Nothing here
imports bftnode before `player.py` has switched the instrumentation on.
"""
