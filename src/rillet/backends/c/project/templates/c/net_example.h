/* What the example does: shows the net an image, and says in words what came of it. */
#ifndef NET_EXAMPLE_H
#define NET_EXAMPLE_H
#include "net.h"
@INCLUDE_IMAGE@
typedef void net_say(const char *text);

static inline void net_say_number(net_say *say, int32_t number)
{
  char digits[12];
  int32_t at = 11;
  uint32_t left = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + left % 10);
    left /= 10;
  } while (left);
  if (number < 0) digits[--at] = '-';
  say(digits + at);
}

/* 0 where all is well. */
static inline int net_example(net_context *net, void *arena, net_say *say)
{
  if (net_init(net, arena)) {
    say("failed: the arena must be aligned to ");
    net_say_number(say, NET_ARENA_ALIGN);
    say(" bytes\n");
    return 1;
  }
#ifdef NET_IMAGE_H
  const int32_t wrong = net_check(net);
  if (wrong) {
    say("failed: ");
    net_say_number(say, wrong);
    say(" of ");
    net_say_number(say, NET_EXPECTED_VALUES);
    say(" output values differ from the reference's\n");
    return 1;
  }
  say("passed: ");
  net_say_number(say, NET_EXPECTED_VALUES);
  say(" output values agree with the reference's\n");
#else
  static const net_input_t row[NET_INPUT_WIDTH * NET_INPUT_CHANNELS] = {0}; /* in place of a camera's */
  net_start(net);
  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(net, row);
#endif
  const net_output_t *const out = net_output(net);
  int32_t best = 0;
  for (int32_t i = 1; i < NET_OUTPUT_SIZE; i++)
    if (out[i] > out[best]) best = i;
  say("class ");
  net_say_number(say, best);
  say("\n");
  return 0;
}
#endif
