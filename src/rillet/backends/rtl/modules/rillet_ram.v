// A memory with one write port, which writes chunks of a word, and one registered read port. No word is read in the
// cycle in which it is written: a ring's reader holds the slots that it reads. STYLE: where the memory lies.
module rillet_ram #(parameter WIDTH = 8, CHUNK = 8, DEPTH = 2, AB = 1,
  /* verilator lint_off UNUSEDPARAM */  // attributes alone read it
  STYLE = "auto"
  /* verilator lint_on UNUSEDPARAM */
  )
  (input clk, input [WIDTH/CHUNK-1:0] we, input [AB-1:0] wa, input [CHUNK-1:0] wd,
   input re, input [AB-1:0] ra, output reg [WIDTH-1:0] rd);
  (* ram_style = STYLE, no_rw_check *) reg [WIDTH-1:0] memory [0:DEPTH-1];
  integer i;
`ifndef SYNTHESIS
  // Channels that pad a word are never written, and simulators must not take them for unknown.
  initial for (i = 0; i < DEPTH; i = i + 1) memory[i] = {WIDTH{1'b0}};
`endif
  always @(posedge clk) begin
    for (i = 0; i < WIDTH/CHUNK; i = i + 1) if (we[i]) memory[wa][i*CHUNK +: CHUNK] <= wd;
    if (re) rd <= memory[ra];
  end
endmodule
