/* random, planned as rows: 3 segments.

   Each stage computes whole rows as soon as the pixels under their windows have arrived, then its readers are tried.
   Segments run one after another; full tensors pass between them. */
/* Written by Rillet VERSION, planned as rows for avx2. SHA-256 of graph and weights:
   4e7f0fc81ca92d59c82a35925edc978e38f513df60df29ac0fff213bc6cb556f. */
#include "net.h"
#include "net_weights.h"
#define RILLET_ROUNDS (RILLET_SIGNED | RILLET_AS_NUMBERS)
#include "kernels/stream.h"
#include "kernels/rescale.h"
#include "kernels/vector_avx2.h"
#include "kernels/channels.h"
#include "kernels/halves.h"
#include "kernels/pairwise.h"
#include "kernels/pool.h"
#include "kernels/pool_rows.h"
#include "kernels/rows.h"
#include "kernels/tiles.h"
#include <string.h>

#ifdef NET_TRACE
/* Fills the full tensor of a value as its pixels are computed. */
#define SEEN(index, at, from, n, bytes) \
  if (self->trace[index]) \
    for (int32_t seen = 0; seen < n; seen++) \
      memcpy(self->trace[index] + ((from) + seen) * (bytes), at(self, (from) + seen), (bytes))
/* The same for values stored with the sign bit flipped. */
#define SEEN_FLIPPED(index, at, from, n, bytes) \
  if (self->trace[index]) \
    rillet_flip(at(self, from), self->trace[index] + (from) * (bytes), n * (bytes))
#else
#ifdef NET_FIRINGS
/* The caller has this function, which is told of each firing: the value, and how many pixels of it. */
void net_fired(int32_t value, int32_t pixels);
#define SEEN(index, at, from, n, bytes) net_fired(index, n)
#else
#define SEEN(index, at, from, n, bytes) (void)0
#endif
#define SEEN_FLIPPED SEEN
#endif

#ifdef NET_TRACE
uint8_t **net_trace(net_context *net) { return net->trace; }
#endif

/* n1: 6x8x4, full tensor, 192 bytes */
static inline uint8_t *at_n1(const net_context *self, int32_t i)
{
  return self->arena + i * 4;
}

/* n3: 6x8x4, full tensor, 192 bytes */
static inline uint8_t *at_n3(const net_context *self, int32_t i)
{
  return self->arena + 192 + i * 4;
}

/* n2: 6x8x4, ring of 48 pixels, 192 bytes */
static inline uint8_t *at_n2(const net_context *self, int32_t i)
{
  return self->arena + 384 + i * 4;
}

/* n0: 6x8x3, ring of 24 pixels, 72 bytes */
static inline uint8_t *at_n0(const net_context *self, int32_t i)
{
  const void *const given = self->borrowed;
  if (given) return (uint8_t *)given + i * 3;
  return self->arena + 384 + (int32_t)((uint32_t)i % 24) * 3;
}

/* n5: 1x1x5, full tensor, 5 bytes */
static inline uint8_t *at_n5(const net_context *self, int32_t i)
{
  (void)i;
  return self->arena;
}

/* n4: 1x1x4, ring of 1 pixels, 4 bytes */
static inline uint8_t *at_n4(const net_context *self, int32_t i)
{
  (void)i;
  return self->arena + 64;
}

/* -- segment 1: 1 stages, 512 bytes -- */

/* n1: 3x3 convolution, stride 1x1, n0 6x8x3 -> 6x8x4 */
static int32_t fire_n1(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n1;
  if (done >= 48) return 0;
  static const rillet_channels_byte_tiles channels = {
    .bias = net_n1_bias, .scale = net_n1_scale, .nudge = net_n1_nudge, .by_integers = 0, .mantissa = 0, .left = 0,
    .right = 0, .shift = 0, .is_signed = 1, .careful = 0, .as_bits = 0, .single = 0, .centre = 0, .zero = 47,
    .low = 0, .high = 255
  };
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 8, .slots = self->borrowed ? 48 : 24,
    .pixel_bytes = 3
  };
  int16_t *const in = (int16_t *)(void *)(self->arena + 192);
  const rillet_runs runs = {.parts = 1, .rows = 3, .row_step = 30, .in_row = 1, .step = 3, .values = 9};
  const int32_t row = (int32_t)(done / 8);
  const int32_t n = 8;
  if (self->made.of_n0 <= rillet_window_needs(window, row + (n - 1) / 8, (n - 1) % 8)) return 0;
  rillet_band_of_halves(window, at_n0(self, 0), 35, 1, row, n / 8, 1, in);
  rillet_byte *const out = at_n1(self, self->made.of_n1);
  {
    for (int32_t y = 0; y < n / 8; y++) {
      int32_t p = 0;
      for (; p + 8 <= 8; p += 8)
        rillet_halves_windows_8x1(in + y * 30 + p * 3, 3, net_n1_weights + 0 * 30, runs, 0,
          out + (y * 8 + p) * 4 + 0, 4, 4, &channels);
    }
  }
  SEEN_FLIPPED(1, at_n1, self->made.of_n1, n, 4);
  self->made.of_n1 += n;
  return 1;
}

/* -- segment 2: 2 stages, 576 bytes -- */

/* n2: depthwise 3x3 convolution, stride 1x1, n1 6x8x4 -> 6x8x4 */
static int32_t fire_n2(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n2;
  if (done >= 48) return 0;
  static const rillet_channels_byte_tiles channels = {
    .bias = net_n2_bias, .scale = net_n2_scale, .nudge = net_n2_nudge, .by_integers = 0, .mantissa = 0, .left = 0,
    .right = 0, .shift = 0, .is_signed = 1, .careful = 0, .as_bits = 0, .single = 0, .centre = 0, .zero = 188,
    .low = 0, .high = 255
  };
  const rillet_window window = {
    .kernel_height = 3, .kernel_width = 3, .stride_height = 1, .stride_width = 1, .top = 1, .left = 1,
    .dilation_height = 1, .dilation_width = 1, .height = 6, .width = 8, .slots = 48, .pixel_bytes = 4
  };
  const int32_t row = (int32_t)(done / 8);
  const int32_t n = 48;
  if (self->made.of_n1 <= rillet_window_needs(window, row + (n - 1) / 8, (n - 1) % 8)) return 0;
  for (int32_t y = 0; y < n / 8; y++) {
    const rillet_byte *rows[4];
    for (int32_t i = 0; i < 4; i++) {
      const int32_t at = (row + y) * 1 - 1 + i * 1;
      rows[i] = at < 0 || at >= 6 || i >= 3
                  ? net_row_outside_u8_47
                  : (const rillet_byte *)(const void *)rillet_row(window, at_n1(self, 0), at);
    }
    rillet_byte *const out = at_n2(self, self->made.of_n2) + y * 32;
    {
      rillet_byte_row_3x3_s1_d1_8x1_1_9(rows, 0 - 4, 4, net_n2_weights + 0 * 12, 0, out + 0, 4, 47, 0, 8, &channels);
    }
  }
  SEEN_FLIPPED(2, at_n2, self->made.of_n2, n, 4);
  self->made.of_n2 += n;
  return 1;
}

/* n3: add, n1 6x8x4, n2 6x8x4 -> 6x8x4 */
static int32_t fire_n3(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n3;
  if (done >= 48) return 0;
  const rillet_pairwise constants = {
    .slope = 0x0.0p+0f, .level = 0x1.6640540000000p+2f, .along = 0x1.0a41000000000p+2f,
    .offset = -0x1.054d8a0000000p+10f, .mantissa = 0, .left = 0, .right = 0, .zero = 193, .low = 0, .high = 255
  };
  const int32_t n = 48;
  if (self->made.of_n1 < self->made.of_n3 + n || self->made.of_n2 < self->made.of_n3 + n) return 0;
  rillet_pairs(at_n1(self, self->made.of_n3 + 0), at_n2(self, self->made.of_n3 + 0), at_n3(self, self->made.of_n3 + 0),
    n * 4, constants);
  SEEN_FLIPPED(3, at_n3, self->made.of_n3, n, 4);
  self->made.of_n3 += n;
  return 1;
}

/* -- segment 3: 2 stages, 384 bytes -- */

/* n4: pool, n3 6x8x4 -> 1x1x4 */
static int32_t fire_n4(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n4;
  if (done >= 1) return 0;
  int32_t *const sums = (int32_t *)(void *)(self->arena + 128);
  const int32_t n = 1;
  rillet_sum_rows_u8(at_n3(self, self->taken.of_n4), self->made.of_n3 - self->taken.of_n4, 4, sums, 4, self->taken.of_n4 == 0);
  self->taken.of_n4 = self->made.of_n3;
  if (self->taken.of_n4 < 48) return 0;
  rillet_finish_average(sums, at_n4(self, 0), 4, 48, 128, 0, 255);
  SEEN_FLIPPED(4, at_n4, self->made.of_n4, n, 4);
  self->made.of_n4 += n;
  return 1;
}

/* n5: 1x1 convolution, stride 1x1, n4 1x1x4 -> 1x1x5 */
static int32_t fire_n5(net_context *const self)
{
  const uint32_t done = (uint32_t)self->made.of_n5;
  if (done >= 1) return 0;
  static const rillet_channels_byte_tiles channels = {
    .bias = net_n5_bias, .scale = net_n5_scale, .nudge = net_n5_nudge, .by_integers = 0, .mantissa = 0, .left = 0,
    .right = 0, .shift = 0, .is_signed = 1, .careful = 0, .as_bits = 0, .single = 0, .centre = 0, .zero = 126,
    .low = 0, .high = 255
  };
  const int32_t n = 1;
  if (self->made.of_n4 < self->made.of_n5 + n) return 0;
  const rillet_byte *const in = at_n4(self, self->made.of_n5);
  rillet_byte *const out = at_n5(self, self->made.of_n5);
  {
    int32_t p = 0;
    for (; p + 1 <= n; p += 1)
      rillet_byte_1x1(in + p * 4, 4, net_n5_weights + 0 * 4, 4, 0,
        out + p * 5 + 0, 5, 5, &channels);
  }
  SEEN_FLIPPED(5, at_n5, self->made.of_n5, n, 5);
  self->made.of_n5 += n;
  return 1;
}

/* The schedule, depth first, without calls that nest: each step tries a stage, and leads to another, one
   after a tile and one when the stage cannot make any (6 at the end). A joint, which several values
   lead to, remembers the latter after a tile; 7 goes back there. */
typedef struct {
  int32_t (*fire)(net_context *self); /* makes a tile, or returns 0 */
  uint8_t fired, idle, joint;
} net_step;
static const net_step steps[] = {
  {fire_n1, 0, 6, 0},
  {fire_n2, 3, 2, 0},
  {fire_n3, 2, 6, 0},
  {fire_n3, 3, 1, 0},
  {fire_n4, 5, 6, 0},
  {fire_n5, 5, 4, 0},
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
  } while (at != 6);
}


static void segment_2(net_context *const self)
{
  self->made.of_n1 = 0;
  while (self->made.of_n1 < 48) {
    self->made.of_n1 += 48;
    try_stages(self, 1);
  }
}

static void segment_3(net_context *const self)
{
  self->made.of_n3 = 0;
  while (self->made.of_n3 < 48) {
    self->made.of_n3 += 8;
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
  self->borrowed = 0;
  memset(&self->made, 0, sizeof self->made);
  memset(&self->taken, 0, sizeof self->taken);
}

static void finish(net_context *const self)
{
  segment_2(self);
  segment_3(self);
  rillet_flip(at_n5(self, 0), at_n5(self, 0), 5);
}

static void take_rows(net_context *const self, int32_t whole)
{
  do {
    self->made.of_n0 += 8;
    try_stages(self, 0);
  } while (whole && self->made.of_n0 < 48);
  if (self->made.of_n0 == 48) finish(self);
}

void net_push_row(net_context *net, const net_input_t *row)
{
  net_context *const self = net;
  if (self->made.of_n0 >= 48) return;
  memcpy(at_n0(self, self->made.of_n0), row, 24 * sizeof *row);
  take_rows(self, 0);
}

const net_output_t *net_output(const net_context *net)
{ return (net_output_t *)at_n5(net, 0); }

void net_run(net_context *net, const net_input_t *image, net_output_t *output)
{
  net_start(net);
  net->borrowed = image;
  take_rows(net, 1);
  memcpy(output, net_output(net), NET_OUTPUT_SIZE * sizeof *output);
}

void net_run_batch(net_context *net, const net_input_t *images, int32_t count, net_output_t *outputs)
{
  for (int32_t i = 0; i < count; i++)
    net_run(net, images + (size_t)i * NET_INPUT_HEIGHT * NET_INPUT_WIDTH * NET_INPUT_CHANNELS,
            outputs + (size_t)i * NET_OUTPUT_SIZE);
}

uint8_t *net_arena(const net_context *net) { return net->arena; }
