// The sum, or the difference, of two values of one scale, clamped, a register. BIAS: what the zero points make of it.
module rillet_sum #(parameter SUBTRACT = 0, BIAS = 0, LOW = -128, HIGH = 127)
  (input clk, input signed [7:0] a, input signed [7:0] b, output reg [7:0] q);
  /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
  wire signed [10:0] r = (SUBTRACT != 0 ? a - b : a + b) + BIAS;
  always @(posedge clk) q <= r < LOW ? LOW : r > HIGH ? HIGH : r;
  /* verilator lint_on WIDTH */
endmodule
