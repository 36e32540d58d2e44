// The operand of a tap: channels of a word, or the zero point where the tap lies in the padding; a register.
//
// A word has operands of GROUPS groups of CHANNELS channels; TAKEN of each group are read at once, in PARTS parts.
module rillet_operand #(parameter
  BITS = 8, WORD = 8,   // bits of a channel and of a word
  OPERANDS = 1, GROUPS = 1, CHANNELS = 1, TAKEN = 1, PARTS = 1, SB = 1, PB = 1, SHIFT = 0, ZERO = 0)
  (input clk, input enable, input [WORD-1:0] word,
   /* verilator lint_off UNUSEDSIGNAL */  // of some shapes
   input [SB-1:0] select, input [PB-1:0] part,
   /* verilator lint_on UNUSEDSIGNAL */
   input pad,
   output reg [GROUPS*TAKEN*BITS-1:0] x);
  /* verilator lint_off UNUSEDSIGNAL */  // bits that pad what is cut
  localparam WIDE = GROUPS * CHANNELS * BITS, ROOM = OPERANDS * WIDE, EACH = CHANNELS * BITS;
  localparam [31:0] FILL = ZERO;
  localparam OUT = TAKEN * BITS, PADDED = PARTS * OUT;
  // As many bits as all operands have, whatever of them the ring holds.
  wire [ROOM+WORD-1:0] whole = {{ROOM{1'b0}}, word};
  wire [ROOM-1:0] moved = whole[SHIFT*BITS +: ROOM];
  wire [WIDE-1:0] chosen;
  wire [GROUPS*OUT-1:0] taken;
  genvar g;
  generate
    if (OPERANDS == 1) begin : all
      assign chosen = moved;
    end else begin : some
      assign chosen = moved[select*WIDE +: WIDE];
    end
    for (g = 0; g < GROUPS; g = g + 1) begin : group
      wire [PADDED+EACH-1:0] own = {{PADDED{1'b0}}, chosen[g*EACH +: EACH]};
      if (PARTS == 1) begin : one
        assign taken[g*OUT +: OUT] = own[OUT-1:0];
      end else begin : several
        assign taken[g*OUT +: OUT] = own[part*OUT +: OUT];
      end
    end
  endgenerate
  always @(posedge clk) if (enable) x <= pad ? {(GROUPS*TAKEN){FILL[BITS-1:0]}} : taken;
endmodule
