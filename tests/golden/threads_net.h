/* random: 6932 multiply-accumulates an image, 848 bytes of activations. */
/* Written by Rillet VERSION, planned as rows for avx2. SHA-256 of graph and weights:
   4e7f0fc81ca92d59c82a35925edc978e38f513df60df29ac0fff213bc6cb556f. */
#ifndef NET_H
#define NET_H
#include <stdint.h>
#include "kernels/crew.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NET_INPUT_HEIGHT 6
#define NET_INPUT_WIDTH 8
#define NET_INPUT_CHANNELS 3
#define NET_OUTPUT_SIZE 5
#define NET_THREADS 2
/* The arena holds all activations, and 256 bytes behind them that vectors may read past. */
#define NET_ARENA_BYTES 1104
#define NET_ARENA_ALIGN 64
/* Defines a static arena, in the section NET_ARENA_SECTION where that is defined: a string, as ".dtcm". */
#ifdef NET_ARENA_SECTION
#define NET_ARENA_PLACE section(NET_ARENA_SECTION), aligned(NET_ARENA_ALIGN)
#else
#define NET_ARENA_PLACE aligned(NET_ARENA_ALIGN)
#endif
#define NET_ARENA(name) static uint8_t name[NET_ARENA_BYTES] __attribute__((NET_ARENA_PLACE))

typedef int8_t net_input_t;
typedef int8_t net_output_t;

/* Dequantised: (stored - ZERO_POINT) * SCALE. */
#define NET_INPUT_SCALE 0.03541685f
#define NET_INPUT_ZERO_POINT (-93)
#define NET_OUTPUT_SCALE 0.14237915f
#define NET_OUTPUT_ZERO_POINT (-2)

#ifdef NET_TRACE
/* Compiled so, wherever this is included, the program copies every value that it makes:
   1 n1: 6x8x4, 192 bytes
   2 n2: 6x8x4, 192 bytes
   3 n3: 6x8x4, 192 bytes
   4 n4: 1x1x4, 4 bytes
   5 n5: 1x1x5, 5 bytes
*/
#define NET_VALUES 6
#endif
/* State of one thread. */
typedef struct {
  struct net_context *net;
  uint8_t *arena;
  rillet_place place;
  struct { /* pixels of each value computed so far */
    int32_t of_n0;
    int32_t of_n1;
    int32_t of_n2;
    int32_t of_n3;
    int32_t of_n4;
    int32_t of_n5;
  } made;
  struct { /* pixels that each global pool has accumulated */
    int32_t of_n4;
  } taken;
  uint8_t came[1]; /* where each joint of the schedule goes back to */
  struct { /* last firings that wrote or read shared values */
    uint64_t read_n0;
  } last;
} __attribute__((aligned(64))) net_thread;

/* State of one inference; contexts are independent of each other. The fields are private. */
typedef struct net_context {
  net_thread threads[NET_THREADS]; /* the first is the caller's */
  rillet_progress progress[NET_THREADS];
  rillet_gate gate;
  rillet_crew crew;
  uint8_t *arena;
  const net_input_t *borrowed; /* zero-copy input of net_run; null while rows are pushed */
  int32_t gathered; /* rows of the next tile that have arrived */
  struct net_context *next; /* of those whose threads run */
#ifdef NET_TRACE
  uint8_t *trace[NET_VALUES]; /* full tensors of the caller's; null ones are not filled */
#endif
} net_context;

/* sizeof(net_context) and NET_ARENA_BYTES, for callers in other languages. */
extern const int32_t net_context_bytes, net_arena_bytes;

/* Initialises a context with an arena of its own: NET_ARENA_BYTES bytes aligned to
   NET_ARENA_ALIGN. With net.c compiled under NET_STATIC_ARENA, 0 selects its static arena.
   Returns 0; or 1 for an arena that is null or not so aligned: the context is of no use then. */
int32_t net_init(net_context *net, void *arena);
/* Resets the stream; call before row 0. */
void net_start(net_context *net);
/* Takes the next row of the image, NET_INPUT_WIDTH x NET_INPUT_CHANNELS values; the last completes it. */
void net_push_row(net_context *net, const net_input_t *row);
/* NET_OUTPUT_SIZE values, valid after an image's last net_push_row() until the next one. */
const net_output_t *net_output(const net_context *net);
/* Runs one image in memory: net_start and every row. */
void net_run(net_context *net, const net_input_t *image, net_output_t *output);
/* The same for several images, contiguous in memory as are their outputs, in the same arena. */
void net_run_batch(net_context *net, const net_input_t *images, int32_t count, net_output_t *outputs);
/* Joins the threads that net_start created; the next net_start creates them again. Call it before the context's
   memory goes. */
void net_stop(net_context *net);
/* The context's arena. */
uint8_t *net_arena(const net_context *net);
#ifdef NET_TRACE
/* Destinations of the full tensors of all values, NET_VALUES of them; null after net_init. */
uint8_t **net_trace(net_context *net);
#endif

#ifdef __cplusplus
}
#endif
#endif
