// Sums, or maxima, over a map as its pixels come, a memory of one word a step; a register. `soon` is what `at` will be in
// two cycles: a block RAM is read then, so that no adder waits for it. Of fewer than three steps the word that is read would
// still be on its way to be written; these lie in registers.
// STYLE: where the memory lies.
module rillet_total #(parameter LANES = 1, STEPS = 1, NB = 1, BITS = 8, MAXIMUM = 0, BIAS = 0, ACC = 16,
  /* verilator lint_off UNUSEDPARAM */  // attributes alone read it
  STYLE = "auto"
  /* verilator lint_on UNUSEDPARAM */
  )
  (input clk, input enable, input first, input [NB-1:0] at,
   /* verilator lint_off UNUSEDSIGNAL */  // of few steps
   input [NB-1:0] soon,
   /* verilator lint_on UNUSEDSIGNAL */
   input [LANES*BITS-1:0] x, output reg [LANES*ACC-1:0] sums);
  (* ram_style = STYLE, no_rw_check *) reg [LANES*ACC-1:0] memory [0:STEPS-1];
  localparam signed [31:0] START = BIAS;
  wire [LANES*ACC-1:0] was;
  wire [LANES*ACC-1:0] now;
  genvar i;
  generate
    if (STEPS < 3) begin : few
      assign was = memory[at];
    end else begin : many
      reg [LANES*ACC-1:0] r, q;
      always @(posedge clk) begin
        r <= memory[soon];
        q <= r;
      end
      assign was = q;
    end
    for (i = 0; i < LANES; i = i + 1) begin : lane
      wire signed [ACC-1:0] b = was[i*ACC +: ACC];
      wire signed [BITS-1:0] value = x[i*BITS +: BITS];
      /* verilator lint_off WIDTH */  // what is narrower is extended by its sign
      wire signed [ACC-1:0] v = value;
      /* verilator lint_on WIDTH */
      assign now[i*ACC +: ACC] = MAXIMUM != 0 ? (first || v > b ? v : b) : (first ? START[ACC-1:0] : b) + v;
    end
  endgenerate
  always @(posedge clk)
    if (enable) begin
      memory[at] <= now;
      sums <= now;
    end
endmodule
