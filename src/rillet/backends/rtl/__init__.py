"""The hardware backend: a pixel plan as Verilog."""
