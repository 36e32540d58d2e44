"""Networks as tables of blocks, built without weights in about a millisecond."""
