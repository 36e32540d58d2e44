// Reads a ring pixel by pixel, an operand of its channels a step, in order; or one pixel again and again (HOLDS).
module rillet_stream #(parameter
  OPERANDS = 1,     // in a word
  SIZE = 1,         // words of the ring
  DEPTH = 1,        // pixels of the ring
  FIRST_WORD = 0,   // of a pixel, which is read first, and the operand in it
  FIRST = 0,
  SKIP = 1,         // words from the last that is read of a pixel to the first of the next
  HOLDS = 0,        // a pixel is read again until it is freed
  AB = 1, SB = 1)   // bits of an address, and of the number of an operand
  (input clk, input rst, input arrived,
   input step,           // reads an operand
   input last,           // with it the last of the pixel
   input release_pixel,  // lets the pixel go
   output ok, output [AB-1:0] ra, output reg [SB-1:0] select);
  localparam HB = $clog2(DEPTH + 1) + 1;
  localparam [31:0] LAST_OPERAND = OPERANDS - 1, START = FIRST, BEGIN = FIRST_WORD, JUMP = SKIP, ALL = SIZE;
  reg [HB-1:0] have;
  reg [AB-1:0] at, start;
  reg [SB-1:0] operand;
  wire [AB:0] jumped = {1'b0, at} + (last ? JUMP[AB:0] : 1);
  wire [AB:0] wrapped = jumped - ALL[AB:0];
  wire [AB-1:0] next = wrapped[AB] ? jumped[AB-1:0] : wrapped[AB-1:0];
  wire [AB-1:0] again = HOLDS != 0 && !release_pixel ? start : next;
  assign ok = have != 0;
  assign ra = at;
  always @(posedge clk)
    if (rst) begin
      have <= 0;
      at <= BEGIN[AB-1:0];
      start <= BEGIN[AB-1:0];
      operand <= START[SB-1:0];
    end else begin
      have <= have + {{(HB-1){1'b0}}, arrived} - {{(HB-1){1'b0}}, release_pixel};
      if (step) begin
        select <= operand;
        operand <= last ? START[SB-1:0] : operand == LAST_OPERAND[SB-1:0] ? 0 : operand + 1;
        if (last) at <= again;
        else if (operand == LAST_OPERAND[SB-1:0]) at <= next;
        if (last && release_pixel) start <= next;
      end
    end
endmodule
