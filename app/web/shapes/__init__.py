"""What answers look like, in each microversion: the web tests hold every answer to it."""
