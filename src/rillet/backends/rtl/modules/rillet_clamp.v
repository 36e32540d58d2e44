// A value within bounds; a register.
module rillet_clamp #(parameter BITS = 8, LOW = -128, HIGH = 127)
  (input clk, input signed [BITS-1:0] v, output reg [BITS-1:0] q);
  /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
  wire signed [BITS:0] wide = v;
  always @(posedge clk) q <= wide < LOW ? LOW : wide > HIGH ? HIGH : wide;
  /* verilator lint_on WIDTH */
endmodule
