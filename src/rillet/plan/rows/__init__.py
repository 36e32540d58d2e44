"""Row plans: segments, ring buffers and one arena."""
