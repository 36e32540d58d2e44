"""Plans: when each layer fires, and where its values lie."""
