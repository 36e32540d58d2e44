/* random: 3888 multiply-accumulates an image, 174 bytes of activations. */
/* Written by Rillet VERSION, planned as rows. SHA-256 of graph and weights:
   78a21f643aa5a9db175cb4d0e3765b34502cff61c1ca841978bb249fe0d7cc5a. */
#ifndef NET_H
#define NET_H
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NET_INPUT_HEIGHT 6
#define NET_INPUT_WIDTH 6
#define NET_INPUT_CHANNELS 2
#define NET_OUTPUT_SIZE 72
/* The arena holds all activations. */
#define NET_ARENA_BYTES 174
#define NET_ARENA_ALIGN 4
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
#define NET_INPUT_SCALE 0.11212789f
#define NET_INPUT_ZERO_POINT (23)
#define NET_OUTPUT_SCALE 0.046625968f
#define NET_OUTPUT_ZERO_POINT (-19)

#ifdef NET_TRACE
/* Compiled so, wherever this is included, the program copies every value that it makes:
   1 n1: 6x6x2, 72 bytes
   2 n2: 6x6x2, 72 bytes
   3 n3: 6x6x2, 72 bytes
   4 n4: 6x6x2, 72 bytes
*/
#define NET_VALUES 5
#endif
/* State of one inference; contexts are independent of each other. The fields are private. */
typedef struct {
  uint8_t *arena;
  struct { /* pixels of each value computed so far */
    int32_t of_n0;
    int32_t of_n1;
    int32_t of_n2;
    int32_t of_n3;
    int32_t of_n4;
  } made;
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
