// Sums as they leave: their biases added, and brought to 8 bits by UNITS units. RULE 0 shifts, half to even; 1 multiplies
// and rounds twice, 2 once; 3 rounds nothing: sums of 32 bits, or of 1 their sign alone. A word of the memory has for
// each unit a bias, then a shift or a mantissa and a shift, then LEVELS of 8 bits: with one, a sum is multiplied by it
// first; with two, what is added by one and what is subtracted by the other.
module rillet_requantise #(parameter
  UNITS = 1, BEATS = 1, IN = 32, ACC = 32, LEVELS = 0, RULE = 0, BITS = 8, SB = 5, LEFT = 0, ZERO = 0, LOW = -128, HIGH = 127, STYLE = "auto", FILE = "")
  (input clk, input rst, input valid, input [UNITS*(LEVELS == 2 ? 2 : 1)*IN-1:0] sums,
   output out_valid, output [UNITS*BITS-1:0] out_data);
  localparam EACH = ACC + (RULE == 3 ? 0 : RULE == 0 ? SB : 37) + 8*LEVELS, AB = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam LATE = (RULE == 3 ? 1 : RULE == 0 ? 2 : 6) + (LEVELS != 0 ? 1 : 0);
  localparam [31:0] LAST = BEATS - 1;
  reg [AB-1:0] next;
  wire [UNITS*EACH-1:0] next_word;
  /* verilator lint_off UNUSEDSIGNAL */  // levels are read a cycle before
  wire [UNITS*EACH-1:0] word;
  /* verilator lint_on UNUSEDSIGNAL */
  // The word of the beat that comes lies there already.
  rillet_rom #(.WIDTH(UNITS*EACH), .DEPTH(BEATS), .AB(AB), .STYLE(STYLE), .FILE(FILE)) constants
    (.clk(clk), .re(rst || valid), .ra(rst ? {AB{1'b0}} : next), .rd(next_word));
  generate
    if (LEVELS == 0) begin : at_once
      assign word = next_word;
    end else begin : behind_levels
      reg [UNITS*EACH-1:0] r;
      always @(posedge clk) r <= next_word;
      assign word = r;
    end
  endgenerate
  reg [LATE:0] live;
  assign out_valid = live[LATE];
  always @(posedge clk) begin
    live <= rst ? 0 : {live[LATE-1:0], valid};
    if (rst) next <= BEATS > 1 ? 1 : 0;
    else if (valid) next <= next == LAST[AB-1:0] ? 0 : next + 1;
  end
  genvar u;
  generate
    for (u = 0; u < UNITS; u = u + 1) begin : unit
      /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
      wire signed [ACC-1:0] sum;
      wire signed [ACC-1:0] bias = word[u*EACH +: ACC];
      if (LEVELS == 0) begin : alone
        assign sum = $signed(sums[u*IN +: IN]);
      end else if (LEVELS == 1) begin : levelled
        reg signed [ACC-1:0] p;
        always @(posedge clk) p <= $signed(sums[u*IN +: IN]) * $signed(next_word[u*EACH+EACH-8 +: 8]);
        assign sum = p;
      end else begin : levelled_apart
        reg signed [ACC-1:0] p, n;
        always @(posedge clk) begin
          p <= $signed(sums[2*u*IN +: IN]) * $signed(next_word[u*EACH+EACH-16 +: 8]);
          n <= $signed(sums[(2*u + 1)*IN +: IN]) * $signed(next_word[u*EACH+EACH-8 +: 8]);
        end
        assign sum = p - n;
      end
      /* verilator lint_on WIDTH */
      reg signed [ACC-1:0] v;
      always @(posedge clk) v <= sum + bias;
      if (RULE == 3) begin : as_it_is
        reg [BITS-1:0] q;
        /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
        always @(posedge clk) q <= BITS == 1 ? v >>> (ACC - 1) : v;
        /* verilator lint_on WIDTH */
        assign out_data[u*BITS +: BITS] = q;
      end else if (RULE == 0) begin : by_shift
        reg [SB-1:0] s;
        always @(posedge clk) s <= word[u*EACH+ACC +: SB];
        rillet_shift #(.IN(ACC), .SB(SB), .ZERO(ZERO), .LOW(LOW), .HIGH(HIGH)) round
          (.clk(clk), .v(v), .s(s), .q(out_data[u*8 +: 8]));
      end else begin : by_multiplier
        reg [30:0] m;
        reg [5:0] s;
        always @(posedge clk) begin
          m <= word[u*EACH+ACC +: 31];
          s <= word[u*EACH+ACC+31 +: 6];
        end
        rillet_scale #(.IN(ACC), .SINGLE(RULE == 2 ? 1 : 0), .LEFT(LEFT), .ZERO(ZERO), .LOW(LOW), .HIGH(HIGH)) round
          (.clk(clk), .v(v), .mantissa(m), .shift(s), .q(out_data[u*8 +: 8]));
      end
    end
  endgenerate
endmodule
