// The network behind few pins: its stream a byte at a time, the lowest channel first, for a chip by itself.
module rillet_pins
  (input clk, input rst, input in_valid, output in_ready, input [7:0] in_data,
   output out_valid, input out_ready, output [7:0] out_data, output out_last);
  localparam IN = @IN@, OUT = @OUT@, IB = $clog2(IN + 1), OB = $clog2(OUT + 1);
  localparam [31:0] ALL = IN, BEAT = OUT;
  reg [8*IN-1:0] word;
  reg [8*OUT-1:0] held;
  reg [IB-1:0] have;
  reg [OB-1:0] left;
  reg last;
  wire takes, made, ends;
  wire full = have == ALL[IB-1:0];
  wire [8*OUT-1:0] result;
  wire [8*IN+7:0] moved = {in_data, word};
  assign in_ready = !full;
  assign out_valid = left != 0;
  assign out_data = held[7:0];
  assign out_last = last && left == 1;
  always @(posedge clk)
    if (rst) begin
      have <= 0;
      left <= 0;
    end else begin
      if (full && takes) have <= 0;
      else if (in_valid && in_ready) begin
        word <= moved[8*IN+7:8];
        have <= have + 1;
      end
      if (made && left == 0) begin
        held <= result;
        left <= BEAT[OB-1:0];
        last <= ends;
      end else if (out_valid && out_ready) begin
        held <= held >> 8;
        left <= left - 1;
      end
    end
  top network
    (.aclk(clk), .aresetn(!rst), .s_axis_tvalid(full), .s_axis_tready(takes), .s_axis_tdata(word), .s_axis_tlast(1'b0),
     .m_axis_tvalid(made), .m_axis_tready(left == 0), .m_axis_tdata(result), .m_axis_tlast(ends));
endmodule
