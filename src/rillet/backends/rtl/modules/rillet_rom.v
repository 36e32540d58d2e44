// A memory that is never written, with a registered read port.
module rillet_rom #(parameter WIDTH = 8, DEPTH = 2, AB = 1, FILE = "")
  (input clk, input re, input [AB-1:0] ra, output reg [WIDTH-1:0] rd);
  reg [WIDTH-1:0] memory [0:DEPTH-1];
  initial $readmemh(FILE, memory);
  always @(posedge clk) if (re) rd <= memory[ra];
endmodule
