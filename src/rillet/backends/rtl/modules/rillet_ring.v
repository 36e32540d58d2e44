// The ring of one value for one reader: DEPTH pixels of WORDS words, each of CHUNKS beats of the writer.
//
// A slot is taken when a firing of the writer begins (in_begin), its pixel lies here with its last beat (arrived), and
// the reader frees so many at the end of a firing (freed). Taps that are read at once have a copy of the memory each.
module rillet_ring #(parameter
  BEAT = 8,     // bits of a beat
  BEATS = 1,    // of a pixel
  CHUNKS = 1,   // beats of a word
  WORDS = 1,    // of a pixel
  DEPTH = 1,    // pixels
  COPIES = 1,
  AB = 1,       // bits of an address
  FB = 1,       // bits of freed
  STYLE = "auto")  // where the memory lies
  (input clk, input rst,
   input in_begin, input in_valid, input [BEAT-1:0] in_data, output in_room,
   output arrived, input [FB-1:0] freed,
   input re, input [COPIES*AB-1:0] ra, output [COPIES*CHUNKS*BEAT-1:0] rd
`ifdef RILLET_OBSERVE
   , output [31:0] peak
`endif
  );
  localparam CB = $clog2(DEPTH + 1), SB = (CB > FB ? CB : FB) + 1, BB = BEATS > 1 ? $clog2(BEATS) : 1;
  localparam [31:0] ALL = DEPTH, LAST_BEAT = BEATS - 1, LAST_WORD = DEPTH * WORDS - 1;
  reg [SB-1:0] slots;
  reg [BB-1:0] beat;
  reg [CHUNKS-1:0] chunk;
  reg [AB-1:0] wa;
  wire last = beat == LAST_BEAT[BB-1:0];
  wire [SB-1:0] let_go = {{(SB-FB){1'b0}}, freed}, taken = {{(SB-1){1'b0}}, in_begin};
  assign in_room = slots != 0;
  assign arrived = in_valid && last;
  always @(posedge clk)
    if (rst) begin
      slots <= ALL[SB-1:0];
      beat <= 0;
      chunk <= 1;
      wa <= 0;
    end else begin
      slots <= slots - taken + let_go;
      if (in_valid) begin
        beat <= last ? 0 : beat + 1;
        chunk <= last || chunk[CHUNKS-1] ? 1 : chunk << 1;
        if (last || chunk[CHUNKS-1]) wa <= wa == LAST_WORD[AB-1:0] ? 0 : wa + 1;
      end
    end
  genvar c;
  generate
    for (c = 0; c < COPIES; c = c + 1) begin : copy
      rillet_ram #(.WIDTH(CHUNKS*BEAT), .CHUNK(BEAT), .DEPTH(DEPTH*WORDS), .AB(AB), .STYLE(STYLE)) ram
        (.clk(clk), .we(in_valid ? chunk : {CHUNKS{1'b0}}), .wa(wa), .wd(in_data),
         .re(re), .ra(ra[c*AB +: AB]), .rd(rd[c*CHUNKS*BEAT +: CHUNKS*BEAT]));
    end
  endgenerate
`ifdef RILLET_OBSERVE
  reg [SB-1:0] fewest;
  wire [SB-1:0] left = slots - taken;
  always @(posedge clk) if (rst) fewest <= ALL[SB-1:0]; else if (left < fewest) fewest <= left;
  assign peak = ALL - {{(32-SB){1'b0}}, fewest};
`endif
endmodule
