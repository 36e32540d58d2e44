// The window of a layer over its ring, one step a cycle: addresses of the taps, which of them lie in the padding, and
// when a firing may begin.
//
// A firing does BLOCKS blocks of outputs, each over its taps (TAPS at once) and PARTS parts of their channels. Channels
// advance with the parts (INNER), else every REPEAT blocks. All that a step needs is made a step before, in registers.
module rillet_window #(parameter
  H = 1, W = 1, OH = 1, OW = 1, KH = 1, KW = 1, SY = 1, SX = 1, DY = 1, DX = 1, TOP = 0, LEFT = 0,
  TAPS = 1, BLOCKS = 1, PARTS = 1, INNER = 1, REPEAT = 1,
  ENDS = 1,                 // the last block of a pixel is short, else the last of each REPEAT
  OPERANDS = 1,             // in a word
  WORDS = 1, DEPTH = 1,     // words of a pixel, pixels of the ring
  NEED = 1,                 // pixels that the first firing of an image needs
  WALK = 0,                 // pixels needed and freed from firing to firing are in tables, and not 1
  MOVES = 0,                // so are the places of the pixels that firings read, the first of them (-TOP, -LEFT)
  CLASSES = 1, RB = 1, CB = 1, ROWS = "", COLUMNS = "",
  AB = 1, SB = 1, PB = 1, WB = 1, NB = 1, FB = 1)
  // bits of an address, the numbers of operand, part and step, of pixels needed and freed more
  (input clk, input rst, input arrived, input room,
   output step, output out_begin, output done, output stall, output [FB-1:0] freed,
   output [TAPS*AB-1:0] ra, output [WB-1:0] at,
   // of the words that are read, in the next cycle
   output reg valid, output reg first, output reg last, output reg short_block,
   output reg [TAPS-1:0] pad, output reg [SB-1:0] select, output reg [PB-1:0] part);
  localparam T = KH * KW, TURNS = T / TAPS, STEPS = BLOCKS * TURNS * PARTS, SIZE = DEPTH * WORDS;
  localparam BB = BLOCKS > 1 ? $clog2(BLOCKS) : 1, TB = TURNS > 1 ? $clog2(TURNS) : 1;
  localparam EB = REPEAT > 1 ? $clog2(REPEAT) : 1, YB = OH > 1 ? $clog2(OH) : 1, XB = OW > 1 ? $clog2(OW) : 1;
  localparam [31:0] LAST_BLOCK = BLOCKS - 1, LAST_TURN = TURNS - 1, LAST_PART = PARTS - 1, LAST_STEP = STEPS - 1;
  localparam [31:0] LAST_REPEAT = REPEAT - 1, LAST_OPERAND = OPERANDS - 1, LAST_Y = OH - 1, LAST_X = OW - 1, ALL = SIZE;

  // -- where the next step is
  reg [BB-1:0] block;
  reg [EB-1:0] repeated;
  reg [TB-1:0] turn;
  reg [PB-1:0] piece;
  reg [SB-1:0] operand;
  reg [AB-1:0] word, place;
  reg [WB-1:0] number;
  reg [YB-1:0] oy;
  reg [XB-1:0] ox;
  reg primed;
  wire last_piece = piece == LAST_PART[PB-1:0], last_turn = turn == LAST_TURN[TB-1:0];
  wire last_block = block == LAST_BLOCK[BB-1:0], last_repeat = repeated == LAST_REPEAT[EB-1:0];
  wire last_step = number == LAST_STEP[WB-1:0], last_x = ox == LAST_X[XB-1:0], last_y = oy == LAST_Y[YB-1:0];
  wire block_ends = last_piece && last_turn;
  wire onward = INNER != 0 || (block_ends && last_repeat);
  wire back = INNER != 0 ? last_piece : last_step;
  wire last_operand = operand == LAST_OPERAND[SB-1:0];

  // -- the step that is taken now
  reg begins, ends, first_now, last_now, short_now;
  reg [TAPS-1:0] pad_now;
  reg [SB-1:0] select_now;
  reg [PB-1:0] part_now;
  reg [TAPS*AB-1:0] ra_now;
  reg [WB-1:0] at_now;
  localparam LB = (NB > $clog2(DEPTH + 1) ? NB : $clog2(DEPTH + 1)) + 2;
  localparam [31:0] START = -NEED;
  // Pixels that lie in the ring beyond those that the next firing needs.
  reg signed [LB-1:0] spare;
  wire [NB-1:0] need_more;
  wire ok = !spare[LB-1];
  assign step = primed && (!begins || (ok && room));
  assign out_begin = step && begins;
  assign done = step && ends;
  assign stall = primed && begins && ok && !room;
  assign ra = ra_now;
  assign at = at_now;
  wire go = step || !primed;
  always @(posedge clk)
    if (rst) begin
      primed <= 0;
      valid <= 0;
      spare <= START[LB-1:0];
      block <= 0; repeated <= 0; turn <= 0; piece <= 0; operand <= 0; word <= 0; number <= 0; oy <= 0; ox <= 0;
    end else begin
      primed <= 1;
      valid <= step;
      spare <= spare + {{(LB-1){1'b0}}, arrived} - (done ? {{(LB-NB){1'b0}}, need_more} : {LB{1'b0}});
      if (go) begin
        begins <= number == 0;
        ends <= last_step;
        first_now <= turn == 0 && piece == 0;
        last_now <= block_ends;
        short_now <= ENDS != 0 ? last_block : last_repeat;
        select_now <= operand;
        part_now <= piece;
        at_now <= number;
        number <= last_step ? 0 : number + 1;
        piece <= last_piece ? 0 : piece + 1;
        if (last_piece) turn <= last_turn ? 0 : turn + 1;
        if (block_ends) begin
          block <= last_block ? 0 : block + 1;
          repeated <= last_repeat ? 0 : repeated + 1;
        end
        if (back) begin
          operand <= 0;
          word <= 0;
        end else if (onward) begin
          operand <= last_operand ? 0 : operand + 1;
          if (last_operand) word <= word + 1;
        end
        if (last_step) begin
          ox <= last_x ? 0 : ox + 1;
          if (last_x) oy <= last_y ? 0 : oy + 1;
        end
      end
      if (step) begin
        first <= first_now;
        last <= last_now;
        short_block <= short_now;
        pad <= pad_now;
        select <= select_now;
        part <= part_now;
      end
    end

  // -- pixels that the next firing needs, and this one frees; where the window moves
  localparam MB = MOVES != 0 ? AB : 1, ROW = RB + NB + FB + MB, COLUMN = NB + FB + MB;
  wire [MB-1:0] moves;
  generate
    if (WALK == 0) begin : even
      assign need_more = 1, freed = step && ends, moves = 0;
    end else begin : uneven
      // A row says which columns of the table are its own, and the end of it; a column what comes up to the next.
      reg [ROW-1:0] rows [0:OH-1];
      reg [COLUMN-1:0] columns [0:CLASSES*(1<<XB)-1];
      initial begin
        $readmemh(ROWS, rows);
        $readmemh(COLUMNS, columns);
      end
      reg [ROW-1:0] row;
      reg [NB+FB-1:0] now;
      wire [YB-1:0] next_y = last_y ? 0 : oy + 1;
      wire [COLUMN-1:0] here = last_x ? row[COLUMN-1:0] : columns[{row[ROW-1 -: CB], ox}];
      assign moves = here[COLUMN-1 -: MB];
      assign need_more = now[NB-1:0], freed = step && ends ? now[NB +: FB] : {FB{1'b0}};
      always @(posedge clk)
        if (rst) row <= rows[0];
        else if (go) begin
          now <= here[NB+FB-1:0];
          if (last_step && last_x) row <= rows[next_y];
        end
    end
  endgenerate

  // -- the place of the window's first tap in the ring, in words, and the taps about it
  localparam signed [31:0] P0 = -(TOP * W + LEFT), PIXELS = H * W, PE = ((OH-1)*SY - TOP) * W + (OW-1)*SX - LEFT;
  localparam [31:0] BEGIN = (P0 % DEPTH + DEPTH) % DEPTH * WORDS, NX = SX % DEPTH * WORDS;
  localparam [31:0] NY = ((SY*W - (OW-1)*SX) % DEPTH + DEPTH) % DEPTH * WORDS;
  localparam [31:0] NF = ((PIXELS + P0 - PE) % DEPTH + DEPTH) % DEPTH * WORDS;
  wire [AB:0] moved = {1'b0, place} + (MOVES != 0 ? {{(AB+1-MB){1'b0}}, moves}
                    : last_x ? (last_y ? NF[AB:0] : NY[AB:0]) : NX[AB:0]);
  wire [AB:0] moved_back = moved - ALL[AB:0];
  always @(posedge clk)
    if (rst) place <= BEGIN[AB-1:0];
    else if (go && last_step) place <= moved_back[AB] ? moved[AB-1:0] : moved_back[AB-1:0];
  genvar t;
  generate
    if (MOVES != 0 || (T == 1 && TOP == 0 && LEFT == 0 && (OH-1)*SY < H && (OW-1)*SX < W)) begin : alone
      always @(posedge clk)
        if (go) begin
          ra_now <= place + word;
          pad_now <= 0;
        end
    end else begin : around
      localparam IB = $clog2((H > W ? H : W) + (KH > KW ? KH : KW) * (DY > DX ? DY : DX)
                      + (TOP > LEFT ? TOP : LEFT) + OH * SY + OW * SX) + 2;
      localparam signed [31:0] Y0 = -TOP, X0 = -LEFT, HEIGHT = H, WIDTH = W, STEP_Y = SY, STEP_X = SX;
      reg signed [IB-1:0] y, x;
      always @(posedge clk)
        if (rst) begin
          y <= Y0[IB-1:0];
          x <= X0[IB-1:0];
        end else if (go && last_step) begin
          x <= last_x ? X0[IB-1:0] : x + STEP_X[IB-1:0];
          if (last_x) y <= last_y ? Y0[IB-1:0] : y + STEP_Y[IB-1:0];
        end
      for (t = 0; t < TAPS; t = t + 1) begin : tap
        reg [AB-1:0] offset [0:TURNS-1];
        reg signed [IB-1:0] down [0:TURNS-1], right [0:TURNS-1];
        integer k;
        /* verilator lint_off WIDTH */  // integers, as small as these registers
        initial
          for (k = 0; k < TURNS; k = k + 1) begin
            down[k] = (k*TAPS + t) / KW * DY;
            right[k] = (k*TAPS + t) % KW * DX;
            offset[k] = ((k*TAPS + t) / KW * DY * W + (k*TAPS + t) % KW * DX) % DEPTH * WORDS;
          end
        /* verilator lint_on WIDTH */
        wire [AB:0] there = {1'b0, place} + {1'b0, offset[turn]}, there_back = there - ALL[AB:0];
        wire signed [IB-1:0] yy = y + down[turn], xx = x + right[turn];
        always @(posedge clk)
          if (go) begin
            ra_now[t*AB +: AB] <= (there_back[AB] ? there[AB-1:0] : there_back[AB-1:0]) + word;
            pad_now[t] <= yy[IB-1] || yy >= HEIGHT[IB-1:0] || xx[IB-1] || xx >= WIDTH[IB-1:0];
          end
      end
    end
  endgenerate
endmodule
