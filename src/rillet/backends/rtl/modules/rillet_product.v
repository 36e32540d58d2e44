// The product of two values without their zero points; two registers.
module rillet_product #(parameter ZERO_A = 0, ZERO_B = 0)
  (input clk, input signed [7:0] a, input signed [7:0] b, output reg signed [17:0] p);
  /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
  reg signed [8:0] x, y;
  always @(posedge clk) begin
    x <= a - ZERO_A;
    y <= b - ZERO_B;
    p <= x * y;
  end
  /* verilator lint_on WIDTH */
endmodule
