// The greatest value, or the sum, of what lies under a window, for each of LANES channels: TAPS of the window a cycle,
// over the cycles of a block. Values in the padding are what changes nothing. Registers: a level for each four taps,
// results. COUNT is how many taps lie on the map.
module rillet_pool #(parameter LANES = 1, TAPS = 1, BITS = 8, MAXIMUM = 0, ACC = 8, NB = 1)
  (input clk, input rst, input valid, input first, input last, input [TAPS-1:0] pad, input [TAPS*LANES*BITS-1:0] x,
   output reg leaves, output reg [LANES*ACC-1:0] results, output reg [NB-1:0] count);
  localparam N1 = (TAPS + 3) / 4, N2 = (N1 + 3) / 4, N3 = (N2 + 3) / 4, N4 = (N3 + 3) / 4, N5 = (N4 + 3) / 4;
  localparam LEVELS = TAPS == 1 ? 0 : N1 == 1 ? 1 : N2 == 1 ? 2 : N3 == 1 ? 3 : N4 == 1 ? 4 : N5 == 1 ? 5 : 6;
  /* verilator lint_off WIDTH */   // what is narrower is extended by its sign
  /* verilator lint_off BLKSEQ */  // within a cycle
  reg [NB-1:0] here;
  integer t;
  always @* begin
    here = 0;
    for (t = 0; t < TAPS; t = t + 1) here = here + !pad[t];
  end
  genvar l, c, g;
  generate
    // Level l has the values of 4**l taps each; level 0 is what comes.
    for (l = 0; l <= LEVELS; l = l + 1) begin : level
      localparam N = (TAPS + (1 << 2*l) - 1) >> 2*l;
      wire [LANES*N*ACC-1:0] values;
      wire v, f, e;
      wire [NB-1:0] n;
      if (l == 0) begin : comes
        assign v = valid, f = first, e = last, n = here;
        for (g = 0; g < N; g = g + 1) begin : tap
          for (c = 0; c < LANES; c = c + 1) begin : lane
            wire signed [BITS-1:0] value = x[(g*LANES + c)*BITS +: BITS];
            wire signed [ACC-1:0] wide = value;
            assign values[(g*LANES + c)*ACC +: ACC] = wide;
          end
        end
      end else begin : joined
        localparam BEFORE = (TAPS + (1 << 2*(l-1)) - 1) >> 2*(l-1);
        reg rv, rf, re;
        reg [NB-1:0] rn;
        assign v = rv, f = rf, e = re, n = rn;
        always @(posedge clk) begin
          rv <= level[l-1].v && !rst;
          {rf, re, rn} <= {level[l-1].f, level[l-1].e, level[l-1].n};
        end
        for (g = 0; g < N; g = g + 1) begin : tap
          for (c = 0; c < LANES; c = c + 1) begin : lane
            reg signed [ACC-1:0] value, r, a;
            integer k;
            always @(posedge clk)
              if (level[l-1].v) begin
                r = level[l-1].values[(4*g*LANES + c)*ACC +: ACC];
                for (k = 4*g + 1; k < 4*g + 4 && k < BEFORE; k = k + 1) begin
                  a = level[l-1].values[(k*LANES + c)*ACC +: ACC];
                  r = MAXIMUM == 0 ? r + a : a > r ? a : r;
                end
                value <= r;
              end
            assign values[(g*LANES + c)*ACC +: ACC] = value;
          end
        end
      end
    end
    for (c = 0; c < LANES; c = c + 1) begin : lane
      wire signed [ACC-1:0] was = results[c*ACC +: ACC], value = level[LEVELS].values[c*ACC +: ACC];
      always @(posedge clk)
        if (level[LEVELS].v)
          results[c*ACC +: ACC] <= level[LEVELS].f ? value : MAXIMUM == 0 ? was + value : value > was ? value : was;
    end
  endgenerate
  always @(posedge clk) begin
    leaves <= level[LEVELS].v && level[LEVELS].e && !rst;
    if (level[LEVELS].v) count <= (level[LEVELS].f ? 0 : count) + level[LEVELS].n;
  end
  /* verilator lint_on WIDTH */
  /* verilator lint_on BLKSEQ */
endmodule
