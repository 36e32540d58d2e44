/* Has whole images, pushed ones and given-up ones made in turn, then writes the result of the first: net IMAGE OUT. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net.h"

NET_ARENA(arena);
static net_context net;

enum { ROW = NET_INPUT_WIDTH * NET_INPUT_CHANNELS, COUNT = NET_INPUT_HEIGHT * ROW, TURNS = 40 };

static net_input_t image[COUNT], other[COUNT];
static net_output_t out[NET_OUTPUT_SIZE];

static void push(const net_input_t *from, int rows)
{
  net_start(&net);
  for (int row = 0; row < rows; row++) net_push_row(&net, from + row * ROW);
}

int main(int argc, char **argv)
{
  FILE *in = argc == 3 ? fopen(argv[1], "rb") : 0, *to = in ? fopen(argv[2], "wb") : 0;
  if (!to || fread(image, sizeof *image, COUNT, in) != COUNT) return 1;
  net_init(&net, arena);
  for (int turn = 0; turn < TURNS; turn++) {
    memset(other, rand(), sizeof other);
    switch (rand() % 3) {
    case 0: net_run(&net, other, out); break;
    case 1: push(other, rand() % NET_INPUT_HEIGHT); break;
    default: push(image, NET_INPUT_HEIGHT); break;
    }
    /* It is the caller's again. */
    memset(other, rand(), sizeof other);
    net_run(&net, image, out);
  }
  const int short_of = fwrite(out, sizeof *out, NET_OUTPUT_SIZE, to) != NET_OUTPUT_SIZE;
  return short_of | fclose(in) | fclose(to);
}
