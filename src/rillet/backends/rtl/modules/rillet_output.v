// The end of the pipeline as an AXI-Stream: a queue of so many pixels as can be on their way, so that none is lost when
// the other side waits; what finds it empty goes out in the same cycle.
module rillet_output #(parameter
  BEAT = 8,     // bits
  BEATS = 1,    // of a pixel
  PIXELS = 1,   // of an image
  DEPTH = 2)    // pixels
  (input clk, input rst, input in_begin, input in_valid, input [BEAT-1:0] in_data, output in_room,
   output tvalid, input tready, output [BEAT-1:0] tdata, output tlast);
  localparam SIZE = DEPTH * BEATS, AB = SIZE > 1 ? $clog2(SIZE) : 1, NB = $clog2(SIZE + 1), DB = $clog2(DEPTH + 1);
  localparam BB = BEATS > 1 ? $clog2(BEATS) : 1, PB = PIXELS > 1 ? $clog2(PIXELS) : 1;
  localparam [31:0] ALL = DEPTH, LAST = SIZE - 1, LAST_BEAT = BEATS - 1, LAST_PIXEL = PIXELS - 1;
  reg [BEAT-1:0] memory [0:SIZE-1];
  reg [AB-1:0] wa, ra;
  reg [NB-1:0] count;
  reg [DB-1:0] slots;
  reg [BB-1:0] beat;
  reg [PB-1:0] pixel;
  wire empty = count == 0, takes = tvalid && tready, ends = beat == LAST_BEAT[BB-1:0], freed = takes && ends;
  assign in_room = slots != 0;
  assign tvalid = !empty || in_valid;
  assign tdata = empty ? in_data : memory[ra];
  assign tlast = ends && pixel == LAST_PIXEL[PB-1:0];
  always @(posedge clk) begin
    if (in_valid) memory[wa] <= in_data;
    if (rst) begin
      wa <= 0; ra <= 0; count <= 0; beat <= 0; pixel <= 0;
      slots <= ALL[DB-1:0];
    end else begin
      if (in_valid) wa <= wa == LAST[AB-1:0] ? 0 : wa + 1;
      if (takes) begin
        ra <= ra == LAST[AB-1:0] ? 0 : ra + 1;
        beat <= ends ? 0 : beat + 1;
        if (ends) pixel <= pixel == LAST_PIXEL[PB-1:0] ? 0 : pixel + 1;
      end
      if (in_valid && !takes) count <= count + 1;
      if (!in_valid && takes) count <= count - 1;
      if (in_begin && !freed) slots <= slots - 1;
      if (!in_begin && freed) slots <= slots + 1;
    end
  end
endmodule
