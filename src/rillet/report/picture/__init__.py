"""What the pictures of a network show, and where it stands: Graph to blocks, blocks to slabs, slabs to pages."""
