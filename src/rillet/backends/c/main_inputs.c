/* Runs the net on raw arrays, a file for each input: its values row by row, as the net stores them. */
#include <stdio.h>
#include "net.h"

NET_ARENA(arena);
static net_context net;
@ARRAYS@

/* Reads all of a file, which must have so many bytes. */
static int read_file(const char *name, void *to, size_t bytes)
{
  FILE *in = fopen(name, "rb");
  const size_t got = in ? fread(to, 1, bytes, in) : 0;
  const int more = in && fgetc(in) != EOF;
  if (in) fclose(in);
  if (got == bytes && !more) return 0;
  fprintf(stderr, "%s: must have %lu bytes, got %s\n", name, (unsigned long)bytes, more ? "more" : in ? "fewer" : "no file");
  return 1;
}

int main(int argc, char **argv)
{
  if (argc != @COUNT@ + 1 && argc != @COUNT@ + 2) {
    fprintf(stderr, "usage: %s @FILES@ [OUTPUT.raw]\n", argv[0]);
    return 1;
  }
  if (@READS@) return 1;
  const int32_t refused = net_init(&net, arena);
  if (refused) {
    if (refused == 1) fprintf(stderr, "arena must be aligned to %d bytes\n", NET_ARENA_ALIGN);
    else fprintf(stderr, "the system must give this program the registers of AMX\n");
    return 1;
  }
  net_run(&net, @ARGUMENTS@);
  if (argc == @COUNT@ + 2) {
    FILE *to = fopen(argv[@COUNT@ + 1], "wb");
    if (!to || fwrite(output, sizeof *output, NET_OUTPUT_SIZE, to) != NET_OUTPUT_SIZE || fclose(to) != 0) {
      fprintf(stderr, "%s: cannot be written\n", argv[@COUNT@ + 1]);
      return 1;
    }
  }
  int best = 0;
  for (int i = 1; i < NET_OUTPUT_SIZE; i++)
    if (output[i] > output[best]) best = i;
  printf("class %d, stored value %g\n", best, (double)output[best]);
  return 0;
}
