"""Tables and pictures of the sources' questions."""
