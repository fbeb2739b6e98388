"""From an archive of photos to targets: what to annotate, what to ask, what the votes say.

Section 3.2 of the MuMIC paper.
"""
