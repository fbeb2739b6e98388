"""The baselines that the paper compares MuMIC with (section 4.2)."""
