"""`auth = keystone`: an operator's Keystone knows who asks, by keystonemiddleware."""
