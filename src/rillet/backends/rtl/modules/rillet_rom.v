// A memory that is never written, with a registered read port; in look-up tables where STYLE is not "block".
module rillet_rom #(parameter WIDTH = 8, DEPTH = 2, AB = 1, STYLE = "auto", FILE = "")
  (input clk, input re, input [AB-1:0] ra, output reg [WIDTH-1:0] rd);
  /* verilator lint_off UNUSEDPARAM */  // attributes alone read it
  /* verilator lint_off WIDTH */        // of words of letters
  localparam LOGIC = STYLE != "block";
  /* verilator lint_on WIDTH */
  /* verilator lint_on UNUSEDPARAM */
  (* rom_style = STYLE, logic_block = LOGIC *) reg [WIDTH-1:0] memory [0:DEPTH-1];
  initial $readmemh(FILE, memory);
  always @(posedge clk) if (re) rd <= memory[ra];
endmodule
