"""The folder of an emitted program: its files in a layout, an example, and a page that says how to build and run it."""
