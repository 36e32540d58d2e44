/* Two images in two contexts at once: row by row in turn, then each in a thread of its own; net IMAGES OUT. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "net.h"

enum { ROW = NET_INPUT_WIDTH * NET_INPUT_CHANNELS, COUNT = NET_INPUT_HEIGHT * ROW, TURNS = 20 };

NET_ARENA(first_arena);
NET_ARENA(second_arena);
static net_context contexts[2];
static net_input_t images[2][COUNT];
static net_output_t expected[2][NET_OUTPUT_SIZE], out[2][NET_OUTPUT_SIZE];

#ifdef NET_TRACE
enum { ROOM = 4096 };
static uint8_t expected_maps[2][NET_VALUES][ROOM], maps[2][NET_VALUES][ROOM];
static void trace(int i, uint8_t to[NET_VALUES][ROOM])
{
  for (int value = 0; value < NET_VALUES; value++) net_trace(&contexts[i])[value] = to[value];
}
static int traced_wrong(int i) { return memcmp(maps[i], expected_maps[i], sizeof maps[i]) != 0; }
#endif

static void *work(void *which)
{
  const int i = *(int *)which;
  for (int turn = 0; turn < TURNS; turn++) {
#ifdef NET_TRACE
    memset(maps[i], 0, sizeof maps[i]);
    trace(i, maps[i]);
#endif
    net_run(&contexts[i], images[i], out[i]);
    if (memcmp(out[i], expected[i], sizeof out[i])) return which;
#ifdef NET_TRACE
    if (traced_wrong(i)) return which;
#endif
  }
  return 0;
}

int main(int argc, char **argv)
{
  FILE *in = argc == 3 ? fopen(argv[1], "rb") : 0, *to = in ? fopen(argv[2], "wb") : 0;
  if (!to || fread(images, sizeof images, 1, in) != 1) return 1;
  net_init(&contexts[0], first_arena);
  net_init(&contexts[1], second_arena);
#ifdef NET_TRACE
  for (int i = 0; i < 2; i++) trace(i, expected_maps[i]);
#endif
  net_start(&contexts[0]);
  net_start(&contexts[1]);
  for (int row = 0; row < NET_INPUT_HEIGHT; row++)
    for (int i = 0; i < 2; i++) net_push_row(&contexts[i], images[i] + row * ROW);
  for (int i = 0; i < 2; i++) memcpy(expected[i], net_output(&contexts[i]), sizeof expected[i]);
  pthread_t threads[2];
  int numbers[2] = {0, 1}, wrong = 0;
  for (int i = 0; i < 2; i++) wrong |= pthread_create(&threads[i], 0, work, &numbers[i]);
  for (int i = 0; i < 2; i++) {
    void *failed = 0;
    wrong |= pthread_join(threads[i], &failed) || failed;
  }
  int short_of = fwrite(expected, sizeof expected, 1, to) != 1;
#ifdef NET_TRACE
  short_of |= fwrite(expected_maps, sizeof expected_maps, 1, to) != 1;
#endif
#ifdef PROFILE
  for (int i = 0; i < 2; i++)
    for (int stage = 0; stage < NET_STAGES; stage++) {
      /* Of the interleaved image and of those of one thread, none of the other context's. */
      const uint64_t calls = net_profile_calls(&contexts[i])[stage];
      wrong |= calls == 0 || calls % (TURNS + 1) != 0 || calls != net_profile_calls(&contexts[!i])[stage];
    }
#endif
  return wrong | short_of | fclose(in) | fclose(to);
}
