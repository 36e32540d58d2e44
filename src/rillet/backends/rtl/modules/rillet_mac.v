// OUTPUTS sums of products, each of TAPS taps of TAKEN channels of its group a cycle, over the cycles of a block; then
// they leave UNITS at a time, so that few units requantise them.
//
// KIND 0 multiplies; weights of two bits (1: 0, 1 and -1) and of one (2: 0 is 1, 1 is -1) add and subtract; values of
// one bit beside such (3) are compared. 4 and 5: as 1 and 2, with a sum of its own for what is added and, behind it, one
// for what is subtracted. Registers: products, a level of adders for each four, sums.
module rillet_mac #(parameter
  OUTPUTS = 1, GROUPS = 1, TAKEN = 1, TAPS = 1, XB = 8, WB = 8, KIND = 0, ACC = 32, ALONE = 0,
  UNITS = 1, DRAINS = 1, SHORT = 1)   // SHORT: cycles of leaving after the last block of a pixel or group
  (input clk, input rst, input valid, input first, input last, input short_block,
   input [TAPS*GROUPS*TAKEN*XB-1:0] x, 
   /* verilator lint_off UNUSEDSIGNAL */  // but for values of one bit
   input [TAPS-1:0] pad,
   /* verilator lint_on UNUSEDSIGNAL */
   input [OUTPUTS*TAPS*TAKEN*WB-1:0] w,
   output leaves, output [UNITS*(KIND > 3 ? 2 : 1)*ACC-1:0] sums);
  localparam RED = TAPS * TAKEN, OPG = OUTPUTS / GROUPS, EACH = KIND > 3 ? 2 : 1;
  localparam SUMS = OUTPUTS * EACH, LEAVE = UNITS * EACH;
  localparam PW = KIND == 3 ? 2 : KIND == 0 ? XB + WB : KIND > 3 ? XB : XB + 1;
  localparam N1 = (RED + 3) / 4, N2 = (N1 + 3) / 4, N3 = (N2 + 3) / 4, N4 = (N3 + 3) / 4, N5 = (N4 + 3) / 4;
  localparam LEVELS = RED == 1 ? 0 : N1 == 1 ? 1 : N2 == 1 ? 2 : N3 == 1 ? 3 : N4 == 1 ? 4 : N5 == 1 ? 5 : 6;
  // valid, first, last and short_block, beside the products and each level
  reg [3:0] flags [0:LEVELS];
  integer i, o, r, t;
  always @(posedge clk) begin
    flags[0] <= {valid && !rst, first, last, short_block};
    for (i = 1; i <= LEVELS; i = i + 1) flags[i] <= {flags[i-1][3] && !rst, flags[i-1][2:0]};
  end
  /* verilator lint_off WIDTH */   // what is narrower is extended by its sign
  /* verilator lint_off BLKSEQ */  // sums within a cycle
  reg signed [PW-1:0] products [0:SUMS*RED-1];
  generate
    if (KIND == 0) begin : multiplied
      always @(posedge clk)
        if (valid)
          for (o = 0; o < OUTPUTS; o = o + 1)
            for (t = 0; t < TAPS; t = t + 1)
              for (r = 0; r < TAKEN; r = r + 1)
                products[o*RED + t*TAKEN + r] <= $signed(x[((t*GROUPS + o/OPG)*TAKEN + r)*XB +: XB])
                                               * $signed(w[(o*RED + t*TAKEN + r)*WB +: WB]);
    end else if (KIND == 3) begin : compared
      always @(posedge clk)
        if (valid)
          for (o = 0; o < OUTPUTS; o = o + 1)
            for (t = 0; t < TAPS; t = t + 1)
              for (r = 0; r < TAKEN; r = r + 1)
                products[o*RED + t*TAKEN + r] <= pad[t] ? 2'b00
                  : {x[(t*GROUPS + o/OPG)*TAKEN + r] ^ w[o*RED + t*TAKEN + r], 1'b1};
    end else if (KIND > 3) begin : apart
      reg signed [XB-1:0] a;
      reg [WB-1:0] b;
      always @(posedge clk)
        if (valid)
          for (o = 0; o < OUTPUTS; o = o + 1)
            for (t = 0; t < TAPS; t = t + 1)
              for (r = 0; r < TAKEN; r = r + 1) begin
                a = x[((t*GROUPS + o/OPG)*TAKEN + r)*XB +: XB];
                b = w[(o*RED + t*TAKEN + r)*WB +: WB];
                products[2*o*RED + t*TAKEN + r] <= b[WB-1] || WB == 2 && b == 0 ? 0 : a;
                products[(2*o + 1)*RED + t*TAKEN + r] <= b[WB-1] ? a : 0;
              end
    end else begin : added
      reg signed [XB-1:0] a;
      reg [WB-1:0] b;
      always @(posedge clk)
        if (valid)
          for (o = 0; o < OUTPUTS; o = o + 1)
            for (t = 0; t < TAPS; t = t + 1)
              for (r = 0; r < TAKEN; r = r + 1) begin
                a = x[((t*GROUPS + o/OPG)*TAKEN + r)*XB +: XB];
                b = w[(o*RED + t*TAKEN + r)*WB +: WB];
                products[o*RED + t*TAKEN + r] <= WB == 2 && b == 0 ? 0 : b[WB-1] ? -a : a;
              end
    end
  endgenerate
  // -- adders of four, a register each
  genvar l;
  generate
    for (l = 1; l <= LEVELS; l = l + 1) begin : level
      localparam N0 = (RED + (1 << 2*(l-1)) - 1) >> 2*(l-1), M = (N0 + 3) / 4;
      localparam LW = PW + 2*l < ACC ? PW + 2*l : ACC;
      reg signed [LW-1:0] part [0:SUMS*M-1];
      reg signed [LW-1:0] s;
      integer a, b, c;
      if (l == 1) begin : first
        always @(posedge clk)
          if (flags[0][3])
            for (a = 0; a < SUMS; a = a + 1)
              for (b = 0; b < M; b = b + 1) begin
                s = 0;
                for (c = 4*b; c < 4*b + 4 && c < N0; c = c + 1) s = s + products[a*N0 + c];
                part[a*M + b] <= s;
              end
      end else begin : next
        always @(posedge clk)
          if (flags[l-1][3])
            for (a = 0; a < SUMS; a = a + 1)
              for (b = 0; b < M; b = b + 1) begin
                s = 0;
                for (c = 4*b; c < 4*b + 4 && c < N0; c = c + 1) s = s + level[l-1].part[a*N0 + c];
                part[a*M + b] <= s;
              end
      end
    end
  endgenerate

  // -- sums of a block; with its last step they move to where they leave, the first units first
  localparam DB = $clog2(DRAINS + 1);
  localparam [31:0] LONG_COUNT = DRAINS, SHORT_COUNT = SHORT;
  wire run = flags[LEVELS][3], f = flags[LEVELS][2] || ALONE != 0, e = flags[LEVELS][1];
  reg signed [ACC-1:0] acc [0:SUMS-1], held [0:SUMS-1], s;
  reg [DB-1:0] count;
  assign leaves = count != 0;
  integer q;
  generate
    if (LEVELS == 0) begin : of_products
      always @(posedge clk) begin
        if (DRAINS > 1) for (q = 0; q < SUMS - LEAVE; q = q + 1) held[q] <= held[q + LEAVE];
        if (run)
          for (q = 0; q < SUMS; q = q + 1) begin
            s = (f ? 0 : acc[q]) + products[q];
            if (ALONE == 0) acc[q] <= s;
            if (e) held[q] <= s;
          end
      end
    end else begin : of_levels
      always @(posedge clk) begin
        if (DRAINS > 1) for (q = 0; q < SUMS - LEAVE; q = q + 1) held[q] <= held[q + LEAVE];
        if (run)
          for (q = 0; q < SUMS; q = q + 1) begin
            s = (f ? 0 : acc[q]) + level[LEVELS].part[q];
            if (ALONE == 0) acc[q] <= s;
            if (e) held[q] <= s;
          end
      end
    end
  endgenerate
  always @(posedge clk)
    if (rst) count <= 0;
    else if (run && e) count <= flags[LEVELS][0] ? SHORT_COUNT[DB-1:0] : LONG_COUNT[DB-1:0];
    else if (leaves) count <= count - 1;
  genvar u;
  generate
    for (u = 0; u < LEAVE; u = u + 1) begin : unit
      assign sums[u*ACC +: ACC] = held[u];
    end
  endgenerate
  /* verilator lint_on WIDTH */
  /* verilator lint_on BLKSEQ */
endmodule
