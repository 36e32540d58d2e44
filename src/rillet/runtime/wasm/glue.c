/* What a page calls: one context of the net, its arena, its inputs and its outputs, all in the memory of the module. */
#include "net.h"

#define EXPORT(name) __attribute__((export_name(#name)))
#define PIXELS (NET_INPUT_HEIGHT * NET_INPUT_WIDTH)

NET_ARENA(arena);
static net_context context;
static net_input_t image[PIXELS * NET_INPUT_CHANNELS] __attribute__((aligned(64)));
@INPUTS@
@OUTPUTS@

EXPORT(rillet_init) int32_t rillet_init(void) { return net_init(&context, arena); }
EXPORT(rillet_arena) uint8_t *rillet_arena(void) { return arena; }
EXPORT(rillet_image) net_input_t *rillet_image(void) { return image; }
/* Another input by its place, from 1 on. */
EXPORT(rillet_given) void *rillet_given(int32_t index)
{
  switch (index) {
@GIVEN@
  }
  return 0;
}
#ifdef NET_FIRINGS
/* What has fired since the image began, in its order. */
static struct {
  int32_t value, pixels;
} fired[@FIRINGS@];
static int32_t firings;
void net_fired(int32_t value, int32_t pixels);
void net_fired(int32_t value, int32_t pixels)
{
  fired[firings].value = value;
  fired[firings++].pixels = pixels;
}
EXPORT(rillet_fired) const void *rillet_fired(void) { return fired; }
EXPORT(rillet_firings) int32_t rillet_firings(void) { return firings; }
#define BEGIN() (firings = 0)
#else
#define BEGIN() (void)0
#endif
EXPORT(rillet_start) void rillet_start(void)
{
  BEGIN(), net_start(&context);
@SETS@
}
EXPORT(rillet_run) void rillet_run(void) { BEGIN(), net_run(&context, image@ARGUMENTS@); }
/* The row of the image that lies at `row`, and what of each value is made by then. */
EXPORT(rillet_push) void rillet_push(int32_t row) { net_push_row(&context, image + row * NET_INPUT_WIDTH * NET_INPUT_CHANNELS); }
EXPORT(rillet_made) const void *rillet_made(void) { return &context.made; }
/* Output `index` of rillet_run, and of the rows pushed. */
EXPORT(rillet_output) const void *rillet_output(int32_t index)
{
  switch (index) {
@RESULTS@
  }
  return 0;
}
EXPORT(rillet_pushed) const void *rillet_pushed(int32_t index)
{
  switch (index) {
@PUSHED@
  }
  return 0;
}
#ifdef RILLET_PICTURES
/* Pixels of the input's size, a byte a channel, and the same as the image. */
static uint8_t pixels[PIXELS * NET_INPUT_CHANNELS];
EXPORT(rillet_pixels) uint8_t *rillet_pixels(void) { return pixels; }
EXPORT(rillet_picture) void rillet_picture(void)
{
  for (int32_t i = 0; i < PIXELS * NET_INPUT_CHANNELS; i++) image[i] = net_pixel(i % NET_INPUT_CHANNELS, pixels[i]);
}
#endif
#ifdef NET_TRACE
EXPORT(rillet_trace) uint8_t **rillet_trace(void) { return net_trace(&context); }
#endif
