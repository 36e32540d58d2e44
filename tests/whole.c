/* Reads a whole image, has net_run make the result of it where it lies, and writes that: net IMAGE OUT. */
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

NET_ARENA(arena);
static net_context net;

int main(int argc, char **argv)
{
  const size_t count = (size_t)NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS;
  FILE *in = argc == 3 ? fopen(argv[1], "rb") : 0, *to = in ? fopen(argv[2], "wb") : 0;
  net_input_t *image = malloc(count * sizeof *image);
  net_output_t *out = malloc(NET_OUTPUT_SIZE * sizeof *out);
  if (!to || !image || !out || fread(image, sizeof *image, count, in) != count) return 1;
  net_init(&net, arena);
  net_run(&net, image, out);
  const int short_of = fwrite(out, sizeof *out, NET_OUTPUT_SIZE, to) != NET_OUTPUT_SIZE;
  free(image);
  free(out);
  return short_of | fclose(in) | fclose(to);
}
