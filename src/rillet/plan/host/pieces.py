"""How pixels are cut into tiles, and what their memory is aligned to."""

HOST_ALIGNMENT = 64
"""A line of the cache, and a vector of the widest set."""


def even(pixels: int, most: int) -> int:
    """The size of tiles of at most `most` that share out `pixels` most evenly."""
    return -(-pixels // -(-pixels // most))


def split(pixels: int, tile: int) -> list[int]:
    """Tile after tile, the rest last."""
    return [tile] * (pixels // tile) + ([pixels % tile] if pixels % tile else [])
