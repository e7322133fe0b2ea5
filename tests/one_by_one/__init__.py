"""The scheduler once more: plain, one host at a time, to compare the columns with."""
