// Copies pixels of 3 channels, two channels a beat out; a ring of two pixels.
module top (input aclk, input aresetn,
  input s_axis_tvalid, output s_axis_tready, input [23:0] s_axis_tdata, input s_axis_tlast,
  output m_axis_tvalid, input m_axis_tready, output [15:0] m_axis_tdata, output m_axis_tlast,
  output [0:0] fired, output [0:0] stalled
`ifdef RILLET_OBSERVE
  , output [31:0] peaks
`endif
);
  reg [23:0] mem [0:1];
  reg [7:0] wa, ra, pix;
  reg beat;
  wire [7:0] used = wa - ra;
  wire sent = m_axis_tvalid && m_axis_tready;
  assign s_axis_tready = used < 2;
  assign m_axis_tvalid = used != 0;
  assign m_axis_tdata = beat ? {8'h55, mem[ra[0]][23:16]} : mem[ra[0]][15:0];
  assign m_axis_tlast = beat && pix == 15;
  assign fired[0] = sent && beat;
  assign stalled[0] = m_axis_tvalid && !m_axis_tready;
  always @(posedge aclk) if (!aresetn) begin
    wa <= 0; ra <= 0; beat <= 0; pix <= 0;
  end else begin
    if (s_axis_tvalid && s_axis_tready) begin mem[wa[0]] <= s_axis_tdata; wa <= wa + 1'b1; end
    if (sent) beat <= !beat;
    if (sent && beat) begin ra <= ra + 1'b1; pix <= pix == 15 ? 8'd0 : pix + 1'b1; end
  end
`ifdef RILLET_OBSERVE
  reg [31:0] most;
  assign peaks = most;
  always @(posedge aclk) if (!aresetn) most <= 0; else if ({24'b0, used} > most) most <= {24'b0, used};
`endif
endmodule
