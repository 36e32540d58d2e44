/* random, planned as rows: 2 segments.

   Each stage computes a few pixels as soon as the pixels under their windows have arrived, then its readers are tried.
   Segments run one after another; full tensors pass between them. */
/* Written by Rillet VERSION, planned as rows. SHA-256 of graph and weights:
   ef815eb8ab44aad691536ebe4c16911dae54d03cc420a55bb27e82dd7a6a3f5c. */
#include "net.h"
#include "net_weights.h"
#include "kernels/stream.h"
#include "kernels/rescale.h"
#include "kernels/arithmetic.h"
#include "kernels/dense.h"
#include "kernels/depthwise.h"
#include "kernels/pool.h"
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

static const float outside_f32_0[4] = {
0x0.0p+0f,0x0.0p+0f,0x0.0p+0f,0x0.0p+0f,
};

/* n1: 6x8x4, ring of 19 pixels, 304 bytes */
static inline float *at_n1(const net_context *self, int32_t i)
{
  return (float *)(void *)(self->arena) + (int32_t)((uint32_t)i % 19) * 4;
}

/* n0: 6x8x3, ring of 19 pixels, 228 bytes */
static inline float *at_n0(const net_context *self, int32_t i)
{
  return (float *)(void *)(self->arena + 304) + (int32_t)((uint32_t)i % 19) * 3;
}

/* n5: 1x1x5, full tensor, 20 bytes */
static inline float *at_n5(const net_context *self, int32_t i)
{
  (void)i;
  return (float *)(void *)(self->arena);
}

/* n4: 1x1x4, full tensor, 16 bytes */
static inline float *at_n4(const net_context *self, int32_t i)
{
  (void)i;
  return (float *)(void *)(self->arena + 640);
}

/* n2: 6x8x4, ring of 1 pixels, 16 bytes */
static inline float *at_n2(const net_context *self, int32_t i)
{
  (void)i;
  return (float *)(void *)(self->arena + 656);
}

/* n3: 6x8x4, ring of 1 pixels, 16 bytes */
static inline float *at_n3(const net_context *self, int32_t i)
{
  (void)i;
  return (float *)(void *)(self->arena + 672);
}

/* -- segment 1: 4 stages, 704 bytes -- */

/* n1: 3x3 convolution, stride 1x1, n0 6x8x3 -> 6x8x4 */
static int32_t fire_n1(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n1;
  if (done >= 48) return 0;
  const rillet_channels_f32 channels = {
    .weights = net_n1_weights, .bias = net_n1_bias, .low = -3.40282347e+38f, .high = 3.40282347e+38f
  };
  float *const gathered = (float *)(void *)(self->arena + 532);
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 8, .slots = 19, .pixel_bytes = 12
  };
  const int32_t row = (int32_t)(done / 8), column = (int32_t)(done % 8);
  const int32_t n = 1;
  if (self->made.of_n0 <= rillet_window_needs(window, row, column + n - 1)) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[9];
      rillet_window_taps(window, at_n0(self, 0), outside_f32_0, row, column + p, tap);
      rillet_gather_f32(tap, 9, 0, 3, gathered);
      rillet_dense_f32_1(gathered, at_n1(self, self->made.of_n1 + p), 27, 0, 4, channels);
    }
  }
  SEEN(1, at_n1, self->made.of_n1, n, 16);
  self->made.of_n1 += n;
  return 1;
}

/* n2: depthwise 3x3 convolution, stride 1x1, n1 6x8x4 -> 6x8x4 */
static int32_t fire_n2(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n2;
  if (done >= 48) return 0;
  const rillet_channels_f32 channels = {
    .weights = net_n2_weights, .bias = net_n2_bias, .low = -3.40282347e+38f, .high = 3.40282347e+38f
  };
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 8, .slots = 19, .pixel_bytes = 16
  };
  const int32_t row = (int32_t)(done / 8), column = (int32_t)(done % 8);
  const int32_t n = 1;
  if (self->made.of_n1 <= rillet_window_needs(window, row, column + n - 1)) return 0;
  for (int32_t p = 0; p < n; p++) {
    const void *tap[9];
    rillet_window_taps(window, at_n1(self, 0), outside_f32_0, row, column + p, tap);
    rillet_depthwise_f32(tap, 9, at_n2(self, self->made.of_n2 + p), 4, channels);
  }
  SEEN(2, at_n2, self->made.of_n2, n, 16);
  self->made.of_n2 += n;
  return 1;
}

/* n3: add, n1 6x8x4, n2 6x8x4 -> 6x8x4 */
static int32_t fire_n3(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n3;
  if (done >= 48) return 0;
  const int32_t n = 1;
  if (self->made.of_n1 < self->made.of_n3 + n || self->made.of_n2 < self->made.of_n3 + n) return 0;
  for (int32_t p = 0; p < n; p++)
    rillet_add_f32(at_n1(self, self->made.of_n3 + p), at_n2(self, self->made.of_n3 + p), at_n3(self, self->made.of_n3 + p), 4, -3.40282347e+38f, 3.40282347e+38f);
  SEEN(3, at_n3, self->made.of_n3, n, 16);
  self->made.of_n3 += n;
  return 1;
}

/* n4: pool, n3 6x8x4 -> 1x1x4 */
static int32_t fire_n4(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n4;
  if (done >= 1) return 0;
  float *const sums = (float *)(void *)(self->arena + 688);
  const int32_t n = 1;
  for (; self->taken.of_n4 < self->made.of_n3; self->taken.of_n4++)
    rillet_accumulate_f32(at_n3(self, self->taken.of_n4), sums, 4, self->taken.of_n4 == 0);
  if (self->taken.of_n4 < 48) return 0;
  rillet_finish_f32(sums, at_n4(self, 0), 4, 48, -3.40282347e+38f, 3.40282347e+38f);
  SEEN(4, at_n4, self->made.of_n4, n, 16);
  self->made.of_n4 += n;
  return 1;
}

/* -- segment 2: 1 stages, 52 bytes -- */

/* n5: 1x1 convolution, stride 1x1, n4 1x1x4 -> 1x1x5 */
static int32_t fire_n5(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n5;
  if (done >= 1) return 0;
  const rillet_channels_f32 channels = {
    .weights = net_n5_weights, .bias = net_n5_bias, .low = -3.40282347e+38f, .high = 3.40282347e+38f
  };
  float *const gathered = (float *)(void *)(self->arena + 20);
  const int32_t n = 1;
  if (self->made.of_n4 < self->made.of_n5 + n) return 0;
  {
    int32_t p = 0;
    for (; p < n; p++) {
      const void *tap[1] = {at_n4(self, self->made.of_n5 + p)};
      rillet_gather_f32(tap, 1, 0, 4, gathered);
      rillet_dense_f32_1(gathered, at_n5(self, self->made.of_n5 + p), 4, 0, 5, channels);
    }
  }
  SEEN(5, at_n5, self->made.of_n5, n, 20);
  self->made.of_n5 += n;
  return 1;
}

/* The schedule, depth first, without calls that nest: each step tries a stage, and leads to another, one
   after a tile and one when the stage cannot make any (7 at the end). A joint, which several values
   lead to, remembers the latter after a tile; 8 goes back there. */
typedef struct {
  int32_t (*fire)(net_context *self); /* makes a tile, or returns 0 */
  uint8_t fired, idle, joint;
} net_step;
static const net_step steps[] = {
  {fire_n1, 1, 7, 0},
  {fire_n2, 3, 2, 0},
  {fire_n3, 4, 0, 1},
  {fire_n3, 4, 1, 1},
  {fire_n4, 4, 5, 0},
  {fire_n3, 4, 8, 1},
  {fire_n5, 6, 7, 0},
};

static void try_stages(net_context *const self, uint32_t at)
{
  do {
    const net_step *const step = steps + at;
    const int32_t fired = step->fire(self);
    if (fired) {
      if (step->joint && step->idle != 8) self->came[step->joint - 1] = step->idle;
      at = step->fired;
    } else {
      at = step->idle;
      if (at == 8) at = self->came[step->joint - 1];
    }
  } while (at != 7);
}


static void segment_2(net_context *const self)
{
  self->made.of_n4 = 0;
  while (self->made.of_n4 < 1) {
    self->made.of_n4 += 1;
    try_stages(self, 6);
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
  memset(&self->taken, 0, sizeof self->taken);
}

static void finish(net_context *const self)
{
  segment_2(self);
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
  if (self->made.of_n0 == 48) finish(self);
}

const net_output_t *net_output(const net_context *net)
{ return at_n5(net, 0); }

void net_run(net_context *net, const net_input_t *image, net_output_t *output)
{
  net_start(net);
  for (int32_t y = 0; y < NET_INPUT_HEIGHT; y++) net_push_row(net, image + y * 24);
  memcpy(output, net_output(net), NET_OUTPUT_SIZE * sizeof *output);
}

uint8_t *net_arena(const net_context *net) { return net->arena; }
