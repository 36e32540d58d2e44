"""Layout of the drawings of a network: Graph to blocks, blocks to slabs, slabs to pages."""
