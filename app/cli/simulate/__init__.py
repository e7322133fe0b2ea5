"""`novella simulate`: what a policy, more hosts or the loss of a rack would do."""
