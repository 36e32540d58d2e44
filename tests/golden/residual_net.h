/* random: 3888 multiply-accumulates an image, 180 bytes of activations. */
#ifndef NET_H
#define NET_H
#include <stdint.h>

#define NET_INPUT_HEIGHT 6
#define NET_INPUT_WIDTH 6
#define NET_INPUT_CHANNELS 2
#define NET_OUTPUT_SIZE 72
#define NET_ARENA_BYTES 180
typedef int8_t net_input_t;
typedef int8_t net_output_t;

/* Begins an image. */
void net_start(void);
/* Takes the next row of the image, NET_INPUT_WIDTH x NET_INPUT_CHANNELS values; the last completes it. */
void net_push_row(const net_input_t *row);
/* The result, NET_OUTPUT_SIZE values, from the last row of an image to the first of the next. */
const net_output_t *net_output(void);
/* All of the above for one image in memory. */
void net_run(const net_input_t *image, net_output_t *output);
/* The NET_ARENA_BYTES bytes that hold all activations. */
uint8_t *net_arena(void);
#endif
