// A function of a value of 8 bits by its table, a register.
module rillet_table #(parameter OUT = 8, FILE = "")
  (input clk, input [7:0] x, output reg [OUT-1:0] y);
  reg [OUT-1:0] memory [0:255];
  initial $readmemh(FILE, memory);
  always @(posedge clk) y <= memory[x];
endmodule
