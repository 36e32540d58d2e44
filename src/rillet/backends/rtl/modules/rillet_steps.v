// The steps of firings, one a cycle: a firing begins when its operands have arrived and the rings behind have room.
module rillet_steps #(parameter
  STEPS = 1,     // of a firing
  PIXELS = 1,    // firings of an image
  GATHERS = 0,   // only the last firing of an image has a result
  NB = 1)        // bits of the number of a step
  (input clk, input rst, input ok, input room,
   output step, output last, output first_pixel, output last_pixel, output out_begin, output done, output stall,
   output [NB-1:0] at);
  localparam PB = PIXELS > 1 ? $clog2(PIXELS) : 1;
  localparam [31:0] LAST = STEPS - 1, LAST_PIXEL = PIXELS - 1;
  reg [NB-1:0] number;
  reg [PB-1:0] pixel;
  wire begins = number == 0, makes = GATHERS == 0 || last_pixel;
  assign at = number;
  assign last = number == LAST[NB-1:0];
  assign first_pixel = pixel == 0;
  assign last_pixel = pixel == LAST_PIXEL[PB-1:0];
  assign step = !rst && (!begins || (ok && (room || !makes)));
  assign out_begin = step && begins && makes;
  assign done = step && last;
  assign stall = !rst && begins && ok && makes && !room;
  always @(posedge clk)
    if (rst) begin
      number <= 0;
      pixel <= 0;
    end else if (step) begin
      number <= last ? 0 : number + 1;
      if (last) pixel <= last_pixel ? 0 : pixel + 1;
    end
endmodule
