// A sum of stored bytes divided by their count, half away from zero, and clamped: a product with the reciprocal of the
// count, 2**SHIFT / count rounded up, which is so long that no result differs. Three registers: the magnitude with half
// the count, the product, out. COUNT is the only count there is, or 0; then memory has reciprocals by count.
module rillet_average #(parameter
  ACC = 16, NB = 1, COUNT = 0, COUNTS = 1, RB = 8, SHIFT = 8, UNSIGNED = 0, LOW = -128, HIGH = 127, FILE = "")
  (input clk, input signed [ACC-1:0] sum, input [NB-1:0] count, output reg [7:0] q);
  /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
  reg [RB-1:0] reciprocals [0:COUNTS-1];
  initial $readmemh(FILE, reciprocals);
  // Of uint8 stored values are 128 more than those within.
  wire signed [ACC:0] stored = UNSIGNED != 0 ? sum + $signed({1'b0, count, 7'b0}) : sum;
  reg [ACC:0] magnitude;
  reg [RB-1:0] reciprocal;
  reg minus, minus2;
  reg [ACC+RB:0] product;
  wire [ACC+RB:0] quotient = product >> SHIFT;
  wire signed [ACC+RB+1:0] r = (minus2 ? -$signed({1'b0, quotient}) : $signed({1'b0, quotient})) - (UNSIGNED != 0 ? 128 : 0);
  always @(posedge clk) begin
    minus <= stored[ACC];
    magnitude <= (stored[ACC] ? -stored : stored) + count[NB-1:1];
    reciprocal <= reciprocals[COUNT != 0 ? 0 : count];
    product <= magnitude * reciprocal;
    minus2 <= minus;
    q <= r < LOW ? LOW : r > HIGH ? HIGH : r;
  end
  /* verilator lint_on WIDTH */
endmodule
