"""The chart as the tests see it: what it renders, and the reference made from its values."""
