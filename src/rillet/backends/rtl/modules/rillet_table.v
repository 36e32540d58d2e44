// A function of a value of 8 bits by its table, a register; in look-up tables where STYLE is not "block".
module rillet_table #(parameter OUT = 8, STYLE = "auto", FILE = "")
  (input clk, input [7:0] x, output reg [OUT-1:0] y);
  /* verilator lint_off UNUSEDPARAM */  // attributes alone read it
  /* verilator lint_off WIDTH */        // of words of letters
  localparam LOGIC = STYLE != "block";
  /* verilator lint_on WIDTH */
  /* verilator lint_on UNUSEDPARAM */
  (* rom_style = STYLE, logic_block = LOGIC *) reg [OUT-1:0] memory [0:255];
  initial $readmemh(FILE, memory);
  always @(posedge clk) y <= memory[x];
endmodule
