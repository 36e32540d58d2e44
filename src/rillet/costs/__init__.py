"""A network on machines: what it takes there, by plans and by the programs that backends make of them."""
