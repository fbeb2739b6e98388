"""From an archive of photos to a manifest: sampling, questions, votes, targets, splits.

Section 3.2 of the MuMIC paper.
"""
