/* random, planned as rows: 2 segments.

   Each stage computes a few pixels as soon as the pixels under their windows have arrived, then its readers are tried.
   Segments run one after another; full tensors pass between them. */
/* Written by Rillet VERSION, planned as rows. SHA-256 of graph and weights:
   78a21f643aa5a9db175cb4d0e3765b34502cff61c1ca841978bb249fe0d7cc5a. */
#include "net.h"
#include "net_weights.h"
#include "kernels/stream.h"
#include "kernels/rescale.h"
#include "kernels/arithmetic.h"
#include "kernels/dense.h"
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

static const int8_t outside_i8_23[2] = {
23,23,
};

static const int8_t outside_i8_62[2] = {
62,62,
};

static const int8_t outside_i8_39[2] = {
39,39,
};

/* n0: 6x6x2, ring of 15 pixels, 30 bytes */
static inline int8_t *at_n0(const net_context *self, int32_t i)
{
  return (int8_t *)(void *)(self->arena) + (int32_t)((uint32_t)i % 15) * 2;
}

/* n3: 6x6x2, full tensor, 72 bytes */
static inline int8_t *at_n3(const net_context *self, int32_t i)
{
  return (int8_t *)(void *)(self->arena + 32) + i * 2;
}

/* n4: 6x6x2, full tensor, 72 bytes */
static inline int8_t *at_n4(const net_context *self, int32_t i)
{
  return (int8_t *)(void *)(self->arena + 16) + i * 2;
}

/* n1: 6x6x2, ring of 15 pixels, 30 bytes */
static inline int8_t *at_n1(const net_context *self, int32_t i)
{
  return (int8_t *)(void *)(self->arena + 140) + (int32_t)((uint32_t)i % 15) * 2;
}

/* n2: 6x6x2, ring of 1 pixels, 2 bytes */
static inline int8_t *at_n2(const net_context *self, int32_t i)
{
  (void)i;
  return (int8_t *)(void *)(self->arena + 172);
}

/* -- segment 1: 3 stages, 176 bytes -- */

/* n1: 3x3 convolution, stride 1x1, n0 6x6x2 -> 6x6x2 */
static int32_t fire_n1(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n1;
  if (done >= 36) return 0;
  const rillet_channels channels = {
    .weights = net_n1_weights, .bias = net_n1_bias, .mantissa = net_n1_mantissa, .shift = net_n1_shift,
    .weight_zero = 0, .zero = 62, .low = -128, .high = 127
  };
  int16_t *const gathered = (int16_t *)(void *)(self->arena + 104);
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 6, .slots = 15, .pixel_bytes = 2
  };
  const int32_t row = (int32_t)(done / 6), column = (int32_t)(done % 6);
  const int32_t n = 1;
  if (self->made.of_n0 <= rillet_window_needs(window, row, column + n - 1)) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[9];
      rillet_window_taps(window, at_n0(self, 0), outside_i8_23, row, column + p, tap);
      rillet_gather_i8(tap, 9, 0, 2, gathered);
      rillet_dense_1(gathered, at_n1(self, self->made.of_n1 + p), 18, 0, 2, channels, 0);
    }
  }
  SEEN(1, at_n1, self->made.of_n1, n, 2);
  self->made.of_n1 += n;
  return 1;
}

/* n2: 3x3 convolution, stride 1x1, n1 6x6x2 -> 6x6x2 */
static int32_t fire_n2(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n2;
  if (done >= 36) return 0;
  const rillet_channels channels = {
    .weights = net_n2_weights, .bias = net_n2_bias, .mantissa = net_n2_mantissa, .shift = net_n2_shift,
    .weight_zero = 0, .zero = -110, .low = -128, .high = 127
  };
  int16_t *const gathered = (int16_t *)(void *)(self->arena + 104);
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 6, .slots = 15, .pixel_bytes = 2
  };
  const int32_t row = (int32_t)(done / 6), column = (int32_t)(done % 6);
  const int32_t n = 1;
  if (self->made.of_n1 <= rillet_window_needs(window, row, column + n - 1)) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[9];
      rillet_window_taps(window, at_n1(self, 0), outside_i8_62, row, column + p, tap);
      rillet_gather_i8(tap, 9, 0, 2, gathered);
      rillet_dense_1(gathered, at_n2(self, self->made.of_n2 + p), 18, 0, 2, channels, 0);
    }
  }
  SEEN(2, at_n2, self->made.of_n2, n, 2);
  self->made.of_n2 += n;
  return 1;
}

/* n3: add, n0 6x6x2, n2 6x6x2 -> 6x6x2 */
static int32_t fire_n3(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n3;
  if (done >= 36) return 0;
  const rillet_add constants = {
    .left_zero = 23, .left_mantissa = 1246996096, .left_shift = -1, .right_zero = -110,
    .right_mantissa = 1073741824, .right_shift = 0, .mantissa = 1332971944, .shift = -18, .zero = 39, .low = -128,
    .high = 127
  };
  const int32_t n = 1;
  if (self->made.of_n0 < self->made.of_n3 + n || self->made.of_n2 < self->made.of_n3 + n) return 0;
  for (int32_t p = 0; p < n; p++)
    rillet_add_i8(at_n0(self, self->made.of_n3 + p), at_n2(self, self->made.of_n3 + p), at_n3(self, self->made.of_n3 + p), 2, constants);
  SEEN(3, at_n3, self->made.of_n3, n, 2);
  self->made.of_n3 += n;
  return 1;
}

/* -- segment 2: 1 stages, 124 bytes -- */

/* n4: 3x3 convolution, stride 1x1, n3 6x6x2 -> 6x6x2 */
static int32_t fire_n4(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n4;
  if (done >= 36) return 0;
  const rillet_channels channels = {
    .weights = net_n4_weights, .bias = net_n4_bias, .mantissa = net_n4_mantissa, .shift = net_n4_shift,
    .weight_zero = 0, .zero = -19, .low = -128, .high = 127
  };
  int16_t *const gathered = (int16_t *)(void *)(self->arena + 104);
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 6, .slots = 36, .pixel_bytes = 2
  };
  const int32_t row = (int32_t)(done / 6), column = (int32_t)(done % 6);
  const int32_t n = 1;
  if (self->made.of_n3 <= rillet_window_needs(window, row, column + n - 1)) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[9];
      rillet_window_taps(window, at_n3(self, 0), outside_i8_39, row, column + p, tap);
      rillet_gather_i8(tap, 9, 0, 2, gathered);
      rillet_dense_1(gathered, at_n4(self, self->made.of_n4 + p), 18, 0, 2, channels, 0);
    }
  }
  SEEN(4, at_n4, self->made.of_n4, n, 2);
  self->made.of_n4 += n;
  return 1;
}

/* The schedule, depth first, without calls that nest: each step tries a stage, and leads to another, one
   after a tile and one when the stage cannot make any (5 at the end). A joint, which several values
   lead to, remembers the latter after a tile; 6 goes back there. */
typedef struct {
  int32_t (*fire)(net_context *self); /* makes a tile, or returns 0 */
  uint8_t fired, idle, joint;
} net_step;
static const net_step steps[] = {
  {fire_n1, 2, 1, 0},
  {fire_n3, 1, 5, 0},
  {fire_n2, 3, 0, 0},
  {fire_n3, 3, 2, 0},
  {fire_n4, 4, 5, 0},
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
  } while (at != 5);
}


static void segment_2(net_context *const self)
{
  self->made.of_n3 = 0;
  while (self->made.of_n3 < 36) {
    self->made.of_n3 += 1;
    try_stages(self, 4);
  }
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

static void finish(net_context *const self)
{
  segment_2(self);
}

void net_push_row(net_context *net, const net_input_t *row)
{
  net_context *const self = net;
  if (self->made.of_n0 >= 36) return;
  for (int32_t x = 0; x < NET_INPUT_WIDTH;) {
    const int32_t before = self->made.of_n0;
    for (int32_t p = 0; p < 1; p++)
      memcpy(at_n0(self, before + p), row + (x + p) * 2,
             2 * sizeof *row);
    self->made.of_n0 += 1;
    try_stages(self, 0);
    x += self->made.of_n0 - before;
  }
  if (self->made.of_n0 == 36) finish(self);
}

const net_output_t *net_output(const net_context *net)
{ return at_n4(net, 0); }

void net_run(net_context *net, const net_input_t *image, net_output_t *output)
{
  net_start(net);
  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(net, image + y * 12);
  memcpy(output, net_output(net), NET_OUTPUT_SIZE * sizeof *output);
}

uint8_t *net_arena(const net_context *net) { return net->arena; }
