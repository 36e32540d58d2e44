// A value that never changes, an operand of it a step, over and over; two registers, as of a ring and its operand.
module rillet_constant #(parameter WIDTH = 8, SIZE = 1, AB = 1, STYLE = "auto", FILE = "")
  (input clk, input rst, input step, output reg [WIDTH-1:0] x);
  localparam [31:0] LAST = SIZE - 1;
  reg [AB-1:0] at;
  wire [WIDTH-1:0] word;
  rillet_rom #(.WIDTH(WIDTH), .DEPTH(SIZE), .AB(AB), .STYLE(STYLE), .FILE(FILE)) values (.clk(clk), .re(step), .ra(at), .rd(word));
  always @(posedge clk) begin
    x <= word;
    if (rst) at <= 0;
    else if (step) at <= at == LAST[AB-1:0] ? 0 : at + 1;
  end
endmodule
