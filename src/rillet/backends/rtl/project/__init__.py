"""What is written beside the Verilog: a testbench, a Makefile, constraints and a README."""
