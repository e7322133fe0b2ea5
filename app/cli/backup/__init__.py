"""`novella backup` and `novella restore`: a whole cloud in one file, and back."""
