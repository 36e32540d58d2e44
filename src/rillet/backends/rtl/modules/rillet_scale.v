// A value times a mantissa of 31 bits times 2**(shift - 31), rounded as LiteRT does, plus the zero point, clamped.
//
// Rounded once (SINGLE), half up; or twice, half up to 32 bits and then half away from zero. Results beyond 32 bits
// saturate. Six registers: shifted left, products, their sum, shifted right, rounded, out.
module rillet_scale #(parameter IN = 32, SINGLE = 0, LEFT = 0, ZERO = 0, LOW = -128, HIGH = 127)
  (input clk, input signed [IN-1:0] v, input [30:0] mantissa, input signed [5:0] shift, output reg [7:0] q);
  // LEFT: some channel has a shift of more than 0.
  /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
  wire signed [32:0] wide = v;
  wire [4:0] left = LEFT != 0 && !shift[5] ? shift[4:0] : 5'd0;
  wire signed [32:0] most = 33'sh7fffffff >>> left, least = -33'sh80000000 >>> left;
  /* verilator lint_off UNUSEDSIGNAL */  // its last bit: it fits 32
  wire signed [32:0] near = LEFT == 0 ? wide : (wide > most ? most : wide < least ? least : wide) <<< left;
  /* verilator lint_on UNUSEDSIGNAL */
  reg signed [31:0] a;
  reg [30:0] m;
  reg [4:0] right, right2, right3;
  reg signed [48:0] lower, upper;
  reg signed [63:0] product;
  // What two roundings keep of the product has 33 bits, what one does 34, its last bit a half. Half of what two drop is
  // added with the product's halves, a register before.
  localparam signed [63:0] HALF = SINGLE != 0 ? 0 : 64'sh40000000;
  wire signed [33:0] kept = SINGLE != 0 ? product >>> 30 : product >>> 31;
  reg signed [33:0] r;
  reg up;
  // Of the bits that the shift cuts off the first, and those behind it.
  reg [33:0] top, behind;
  wire [33:0] one = 34'd1 << right2, cut = ~({34{1'b1}} << right2);
  reg signed [33:0] z;
  always @(posedge clk) begin
    a <= near[31:0];
    m <= mantissa;
    right <= shift[5] ? -shift : 5'd0;
    lower <= a * $signed({1'b0, m[15:0]});
    upper <= a * $signed({1'b0, m[30:16]});
    right2 <= right;
    product <= lower + (upper <<< 16) + HALF;
    right3 <= right2;
    r <= kept >>> right3;
    top <= one >> 1;
    behind <= cut >> 1;
    up <= SINGLE == 0 && |(kept & top) && (!kept[33] || |(kept & behind));
    z <= (SINGLE != 0 ? (r >>> 1) + $signed({1'b0, r[0]}) : r + $signed({1'b0, up})) + ZERO;
    q <= z < LOW ? LOW : z > HIGH ? HIGH : z;
  end
  /* verilator lint_on WIDTH */
endmodule
