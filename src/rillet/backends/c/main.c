/* Runs the net on a raw image: one byte for each value, row by row, as the net stores its input. */
#include <stdio.h>
#include <string.h>
#include "net.h"

NET_ARENA(arena);
static net_context net;

/* What a file is, by its first bytes, where that is a picture; else 0. */
static const char *picture(const unsigned char *begin)
{
  if (!memcmp(begin, "\x89PNG\r\n\x1a\n", 8)) return "PNG";
  if (!memcmp(begin, "\xff\xd8\xff", 3) && (!memcmp(begin + 6, "JFIF", 4) || !memcmp(begin + 6, "Exif", 4))) return "JPEG";
  if (!memcmp(begin, "GIF87a", 6) || !memcmp(begin, "GIF89a", 6)) return "GIF";
  if (!memcmp(begin, "RIFF", 4) && !memcmp(begin + 8, "WEBP", 4)) return "WebP";
  if (!memcmp(begin, "BM", 2) && !memcmp(begin + 6, "\0\0\0\0", 4)) return "BMP";
  if (!memcmp(begin, "II*\0", 4) || !memcmp(begin, "MM\0*", 4)) return "TIFF";
  return 0;
}

/* Shows the net the rows of a file; the bytes that the file has of its input, or one more where it has more. */
static size_t push_file(FILE *in, unsigned char begin[16])
{
  static union {
    net_input_t values[NET_INPUT_WIDTH * NET_INPUT_CHANNELS];
    unsigned char bytes[16];
  } row;
  size_t size = 0;
  net_start(&net);
  for (int y = 0; y < NET_INPUT_HEIGHT; y++) {
    const size_t got = fread(row.values, 1, sizeof row.values, in);
    if (size < 16) memcpy(begin + size, row.bytes, got < 16 - size ? got : 16 - size);
    size += got;
    if (got != sizeof row.values) return size;
    net_push_row(&net, row.values);
  }
  return size + (fgetc(in) != EOF);
}

#ifdef NET_EXAMPLE_H
static void say(const char *text)
{
  fputs(text, stdout);
}
#endif

int main(int argc, char **argv)
{
#ifdef NET_EXAMPLE_H
  if (argc == 1) return net_example(&net, arena, say);
#endif
  if (argc != 2 && argc != 3) {
    fprintf(stderr, "usage: %s IMAGE.raw [OUTPUT.raw]\n", argv[0]);
    return 1;
  }
  FILE *in = fopen(argv[1], "rb");
  if (!in) {
    fprintf(stderr, "%s: cannot be opened\n", argv[1]);
    return 1;
  }
  const int32_t refused = net_init(&net, arena);
  if (refused) {
    if (refused == 1) fprintf(stderr, "arena must be aligned to %d bytes\n", NET_ARENA_ALIGN);
    else fprintf(stderr, "the system must give this program the registers of AMX\n");
    fclose(in);
    return 1;
  }
  unsigned char begin[16] = {0};
  const size_t wanted = sizeof(net_input_t) * NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS;
  const size_t size = push_file(in, begin);
  const char *const kind = picture(begin);
  fclose(in);
  if (kind || size != wanted) {
    fprintf(stderr, "%s: must have %lu bytes, the values of %d x %d x %d as the net stores them, got ", argv[1],
            (unsigned long)wanted, NET_INPUT_HEIGHT, NET_INPUT_WIDTH, NET_INPUT_CHANNELS);
    if (kind) fprintf(stderr, "a %s picture\n", kind);
    else if (size > wanted) fprintf(stderr, "more\n");
    else fprintf(stderr, "%lu\n", (unsigned long)size);
    return 1;
  }
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
