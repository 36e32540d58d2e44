"""The written rounding rules: the only place where a requantisation is defined."""
