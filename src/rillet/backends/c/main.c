/* Runs the net on a raw image: one byte for each value, row by row, as the net stores its input. */
#include <stdio.h>
#include "net.h"

NET_ARENA(arena);
static net_context net;

int main(int argc, char **argv)
{
  if (argc != 2 && argc != 3) {
    fprintf(stderr, "usage: %s IMAGE.raw [OUTPUT.raw]\n", argv[0]);
    return 1;
  }
  FILE *in = fopen(argv[1], "rb");
  if (!in) {
    fprintf(stderr, "%s: cannot be opened\n", argv[1]);
    return 1;
  }
  static net_input_t row[NET_INPUT_WIDTH * NET_INPUT_CHANNELS];
  net_init(&net, arena);
  net_start(&net);
  for (int y = 0; y < NET_INPUT_HEIGHT; y++) {
    if (fread(row, sizeof row, 1, in) != 1) {
      fprintf(stderr, "%s: must have %d rows of %d bytes, got %d rows\n", argv[1], NET_INPUT_HEIGHT, (int)sizeof row, y);
      fclose(in);
      return 1;
    }
    net_push_row(&net, row);
  }
  fclose(in);
  const net_output_t *out = net_output(&net);
  if (argc == 3) {
    FILE *to = fopen(argv[2], "wb");
    if (!to || fwrite(out, sizeof *out, NET_OUTPUT_SIZE, to) != NET_OUTPUT_SIZE || fclose(to) != 0) {
      fprintf(stderr, "%s: cannot be written\n", argv[2]);
      return 1;
    }
  }
  int best = 0;
  for (int i = 1; i < NET_OUTPUT_SIZE; i++)
    if (out[i] > out[best]) best = i;
  printf("class %d, stored value %g\n", best, (double)out[best]);
  return 0;
}
