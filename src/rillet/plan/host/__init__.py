"""Row plans for speed on a processor with vectors and threads."""
