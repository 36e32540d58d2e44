"""Graph to graph: each module changes one thing and leaves the rest as it was."""
