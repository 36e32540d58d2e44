/* random, planned as rows: 1 segments.

   Each stage computes a few pixels as soon as the pixels under their windows have arrived, then its readers are tried.
   Segments run one after another; full tensors pass between them. */
/* Written by Rillet VERSION, planned as rows. SHA-256 of graph and weights:
   e52484675f7ebeb397bb411f4e47c779912a7fdeec8a07eb356f714fdb105122. */
#include "net.h"
#include "net_weights.h"
#include "kernels/stream.h"
#include "kernels/rescale.h"
#include "kernels/dense.h"
#include "kernels/low_bit.h"
#include <string.h>

#ifdef NET_TRACE
/* Fills the full tensor of a value as its pixels are computed. */
#define SEEN(index, at, from, n, bytes) \
  if (self->trace[index]) \
    for (int32_t seen = 0; seen < n; seen++) \
      memcpy(self->trace[index] + ((from) + seen) * (bytes), at(self, (from) + seen), (bytes))
#else
#define SEEN(index, at, from, n, bytes) (void)0
#endif

#ifdef NET_TRACE
uint8_t **net_trace(net_context *net) { return net->trace; }
#endif

static const int8_t outside_i8_m93[3] = {
-93,-93,-93,
};

/* n2: 6x8x5, full tensor, 240 bytes */
static inline int8_t *at_n2(const net_context *self, int32_t i)
{
  return (int8_t *)(void *)(self->arena) + i * 5;
}

/* n1: 6x8x8, ring of 1 pixels, 8 bytes */
static inline int8_t *at_n1(const net_context *self, int32_t i)
{
  (void)i;
  return (int8_t *)(void *)(self->arena + 240);
}

/* n0: 6x8x3, ring of 19 pixels, 57 bytes */
static inline int8_t *at_n0(const net_context *self, int32_t i)
{
  return (int8_t *)(void *)(self->arena + 304) + (int32_t)((uint32_t)i % 19) * 3;
}

/* -- segment 1: 2 stages, 364 bytes -- */

/* n1: 3x3 convolution, stride 1x1, n0 6x8x3 -> 6x8x8 */
static int32_t fire_n1(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n1;
  if (done >= 48) return 0;
  const rillet_low_bit channels = {
    .weights = net_n1_weights, .levels = 0, .bias = net_n1_bias, .mantissa = net_n1_mantissa, .shift = net_n1_shift,
    .zero = -81, .low = -128, .high = 127
  };
  int16_t *const gathered = (int16_t *)(void *)(self->arena + 248);
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 8, .slots = 19, .pixel_bytes = 3
  };
  const int32_t row = (int32_t)(done / 8), column = (int32_t)(done % 8);
  const int32_t n = 1;
  if (self->made.of_n0 <= rillet_window_needs(window, row, column + n - 1)) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[9];
      rillet_window_taps(window, at_n0(self, 0), outside_i8_m93, row, column + p, tap);
      rillet_gather_i8(tap, 9, 0, 3, gathered);
      rillet_low_bit_tile(gathered, (void *const[]){at_n1(self, self->made.of_n1 + p)}, 1, 27, 0, 8, channels, 0, RILLET_TERNARY_PLANES);
    }
  }
  SEEN(1, at_n1, self->made.of_n1, n, 8);
  self->made.of_n1 += n;
  return 1;
}

/* n2: 1x1 convolution, stride 1x1, n1 6x8x8 -> 6x8x5 */
static int32_t fire_n2(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n2;
  if (done >= 48) return 0;
  const rillet_channels channels = {
    .weights = net_n2_weights, .bias = net_n2_bias, .mantissa = net_n2_mantissa, .shift = net_n2_shift,
    .weight_zero = 0, .zero = 64, .low = -128, .high = 127
  };
  int16_t *const gathered = (int16_t *)(void *)(self->arena + 248);
  const int32_t n = 1;
  if (self->made.of_n1 < self->made.of_n2 + n) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[1] = {at_n1(self, self->made.of_n2 + p)};
      rillet_gather_i8(tap, 1, 0, 8, gathered);
      rillet_dense_1(gathered, at_n2(self, self->made.of_n2 + p), 8, 0, 5, channels, 0);
    }
  }
  SEEN(2, at_n2, self->made.of_n2, n, 5);
  self->made.of_n2 += n;
  return 1;
}

/* The schedule, depth first, without calls that nest: each step tries a stage, and leads to another, one
   after a tile and one when the stage cannot make any (2 at the end). A joint, which several values
   lead to, remembers the latter after a tile; 3 goes back there. */
typedef struct {
  int32_t (*fire)(net_context *self); /* makes a tile, or returns 0 */
  uint8_t fired, idle, joint;
} net_step;
static const net_step steps[] = {
  {fire_n1, 1, 2, 0},
  {fire_n2, 1, 0, 0},
};

static void try_stages(net_context *const self, uint32_t at)
{
  do {
    const net_step *const step = steps + at;
    const int32_t fired = step->fire(self);
    if (fired) {
      at = step->fired;
    } else {
      at = step->idle;
    }
  } while (at != 2);
}


#ifdef NET_STATIC_ARENA
NET_ARENA(static_arena);
#endif

const int32_t net_context_bytes = sizeof(net_context);
const int32_t net_arena_bytes = NET_ARENA_BYTES;

int32_t net_init(net_context *net, void *arena)
{
  memset(net, 0, sizeof *net);
#ifdef NET_STATIC_ARENA
  if (!arena) arena = static_arena;
#endif
  if (!arena || (uintptr_t)arena % NET_ARENA_ALIGN) return 1;
  net->arena = arena;
  return 0;
}

void net_start(net_context *net)
{
  net_context *const self = net;
  memset(&self->made, 0, sizeof self->made);
}

void net_push_row(net_context *net, const net_input_t *row)
{
  net_context *const self = net;
  if (self->made.of_n0 >= 48) return;
  for (int32_t x = 0; x < NET_INPUT_WIDTH;) {
    const int32_t before = self->made.of_n0;
    for (int32_t p = 0; p < 1; p++)
      memcpy(at_n0(self, before + p), row + (x + p) * 3,
             3 * sizeof *row);
    self->made.of_n0 += 1;
    try_stages(self, 0);
    x += self->made.of_n0 - before;
  }
}

const net_output_t *net_output(const net_context *net)
{ return at_n2(net, 0); }

void net_run(net_context *net, const net_input_t *image, net_output_t *output)
{
  net_start(net);
  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(net, image + y * 24);
  memcpy(output, net_output(net), NET_OUTPUT_SIZE * sizeof *output);
}

uint8_t *net_arena(const net_context *net) { return net->arena; }
