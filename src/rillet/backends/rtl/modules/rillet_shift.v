// A value / 2**s, half to even, plus the zero point, clamped; two registers.
module rillet_shift #(parameter IN = 32, SB = 5, ZERO = 0, LOW = -128, HIGH = 127)
  (input clk, input signed [IN-1:0] v, input [SB-1:0] s, output reg [7:0] q);
  /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
  // What is cut off, at the top of a word: half is its first bit alone.
  wire signed [IN-1:0] shifted = v >>> s;
  wire [IN-1:0] cut = s == 0 ? {IN{1'b0}} : v << (IN - s);
  reg signed [IN-1:0] r;
  reg up;
  wire signed [IN:0] z = r + $signed({1'b0, up}) + ZERO;
  always @(posedge clk) begin
    r <= shifted;
    up <= cut[IN-1] && (|cut[IN-2:0] || shifted[0]);
    q <= z < LOW ? LOW : z > HIGH ? HIGH : z;
  end
  /* verilator lint_on WIDTH */
endmodule
