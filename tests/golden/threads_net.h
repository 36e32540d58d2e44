/* random: 6932 multiply-accumulates an image, 640 bytes of activations. */
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
#define NET_ARENA_BYTES 896
#define NET_ARENA_ALIGN 64
/* Defines one. */
#define NET_ARENA(name) static uint8_t name[NET_ARENA_BYTES] __attribute__((aligned(NET_ARENA_ALIGN)))

typedef int8_t net_input_t;
typedef int8_t net_output_t;

/* A real number is (stored - ZERO_POINT) * SCALE. */
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
/* One thread's place in the schedule. */
typedef struct {
  struct net_context *net;
  uint8_t *arena;
  rillet_place place;
  struct { /* pixels of each value that have been made */
    int32_t of_n0;
    int32_t of_n1;
    int32_t of_n2;
    int32_t of_n3;
    int32_t of_n4;
    int32_t of_n5;
  } made;
  struct { /* pixels that each global pool has taken in */
    int32_t of_n4;
  } taken;
  struct { /* firings in which it last wrote or read what others read or write */
    uint64_t read_n0;
  } last;
} __attribute__((aligned(64))) net_thread;

/* One run of the net: any number of them may go on side by side. The fields are the net's own. */
typedef struct net_context {
  net_thread threads[NET_THREADS]; /* the first is the caller's */
  rillet_progress progress[NET_THREADS];
  rillet_gate gate;
  rillet_crew crew;
  uint8_t *arena;
  const net_input_t *lent; /* the image of net_run, the caller's; none while rows are pushed */
  int32_t gathered; /* rows of the next tile that are there */
  struct net_context *next; /* of those whose threads run */
#ifdef NET_TRACE
  uint8_t *trace[NET_VALUES]; /* whole maps of the caller's; those that are 0 are not filled */
#endif
} net_context;

/* The sizes of both, for callers that cannot read this. */
extern const int32_t net_context_bytes, net_arena_bytes;

/* Begins a context's life, in an arena that no other context has: NET_ARENA_BYTES bytes aligned to
   NET_ARENA_ALIGN. Where net.c was compiled with NET_STATIC_ARENA, 0 means the one that it then has. */
void net_init(net_context *net, void *arena);
/* Begins an image. */
void net_start(net_context *net);
/* Takes the next row of the image, NET_INPUT_WIDTH x NET_INPUT_CHANNELS values; the last completes it. */
void net_push_row(net_context *net, const net_input_t *row);
/* The result, NET_OUTPUT_SIZE values, from the last row of an image to the first of the next. */
const net_output_t *net_output(const net_context *net);
/* All of the above but net_init, for one image in memory. */
void net_run(net_context *net, const net_input_t *image, net_output_t *output);
/* The same for so many images, one after another in memory as their outputs are, within the same arena. */
void net_run_batch(net_context *net, const net_input_t *images, int32_t count, net_output_t *outputs);
/* Ends the threads that net_start began; the next net_start begins them again. To be called before the context's
   memory goes. */
void net_stop(net_context *net);
/* The context's arena. */
uint8_t *net_arena(const net_context *net);
#ifdef NET_TRACE
/* Where the whole maps of values go, NET_VALUES of them; all are 0 after net_init. */
uint8_t **net_trace(net_context *net);
#endif

#ifdef __cplusplus
}
#endif
#endif
