// Streams one image through `top`, as fast as the plan takes images, and compares every beat with the expected one.
`timescale 1ns / 1ps
module testbench;
  localparam PIXELS = @PIXELS@, CHANNELS = @CHANNELS@;          // of the input, a pixel a beat
  localparam BEATS = @BEATS@, PER_PIXEL = @PER_PIXEL@;            // of the output
  localparam WIDE = @WIDE@, LAST = @LAST@;                        // channels of a beat, and of a pixel's last beat
  localparam STAGES = @STAGES@;
  localparam [63:0] INTERVAL = @INTERVAL@, LATENCY = @LATENCY@;   // cycles, as planned

  reg clk = 0, awake = 0, runs = 0;
  always #(@HALF_NS@) clk = !clk;

  reg [8*CHANNELS-1:0] image [0:PIXELS-1];
  reg [8*WIDE-1:0] expected [0:BEATS-1];
  initial $readmemh("sim/input.hex", image);
  initial $readmemh("sim/expected.hex", expected);

  reg [63:0] cycle = 0, first = 0;
  integer sent = 0, got = 0, wrong = 0, channel;
  reg valid = 0;
  reg [8*CHANNELS-1:0] data = 0;
  wire ready, out_valid, out_last;
  wire [8*WIDE-1:0] out;
  wire [STAGES-1:0] fired, stalled;
  top dut (
    .aclk(clk), .aresetn(awake),
    .s_axis_tvalid(valid), .s_axis_tready(ready), .s_axis_tdata(data), .s_axis_tlast(sent == PIXELS - 1),
    .m_axis_tvalid(out_valid), .m_axis_tready(1'b1), .m_axis_tdata(out), .m_axis_tlast(out_last),
    .fired(fired), .stalled(stalled));

  wire [63:0] due = (INTERVAL * (sent + 1) + PIXELS - 1) / PIXELS;

  // What is set here, between rising edges, is taken at the next one.
  always @(negedge clk) if (runs) begin
    valid <= sent < PIXELS && due <= cycle + 1;
    data <= image[sent < PIXELS ? sent : 0];
  end

  always @(posedge clk) if (runs) begin
    cycle <= cycle + 1;
    if (valid && ready) begin
      if (sent == 0) first <= cycle + 1;
      sent <= sent + 1;
    end
    if (out_valid) begin
      for (channel = 0; channel < WIDE; channel = channel + 1)
        if ((channel < LAST || got % PER_PIXEL != PER_PIXEL - 1) &&
            out[8*channel +: 8] !== expected[got][8*channel +: 8]) wrong = wrong + 1;
      if (out_last !== (got == BEATS - 1)) wrong = wrong + 1;
      got <= got + 1;
      if (got == BEATS - 1) begin
        if (wrong == 0 && cycle + 1 - first == LATENCY)
          $display("PASS: %0d beats equal, latency %0d cycles as planned", BEATS, cycle + 1 - first);
        else
          $display("FAIL: %0d bytes wrong, latency %0d cycles (planned %0d)", wrong, cycle + 1 - first, LATENCY);
        $finish;
      end
    end
    if (cycle > 4 * (INTERVAL + LATENCY) + 10000) begin
      $display("FAIL: %0d of %0d beats after %0d cycles", got, BEATS, cycle);
      $finish;
    end
  end

  // Some cycles of reset, and some in which the machine makes itself ready for the first pixel.
  initial begin
    repeat (4) @(negedge clk);
    awake = 1;
    repeat (16) @(negedge clk);
    runs = 1;
  end
endmodule
