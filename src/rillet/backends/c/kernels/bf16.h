/* Float32 rounded to bfloat16 before register tiles multiply it. */
#ifndef RILLET_BF16_H
#define RILLET_BF16_H
#include "rows.h"

/* `count` values, and `more` zeros behind them: the other half of a last pair. */
RILLET_ALWAYS void rillet_narrow(const float *in, int32_t count, int32_t more, uint16_t *out)
{
  int32_t i = 0;
  for (; i + RILLET_LANES <= count; i += RILLET_LANES) rillet_bf16s_store(out + i, rillet_reals_load(in + i), RILLET_LANES);
  if (i < count) rillet_bf16s_store(out + i, rillet_reals_load(in + i), count - i);
  for (int32_t j = 0; j < more; j++) out[count + j] = 0;
}

/* As rillet_band does: padded rows under the windows of `rows` rows of the result, and `more` zeros behind them. */
RILLET_ALWAYS void rillet_band_of_bf16(const rillet_window w, const void *buffer, int32_t row, int32_t rows, int32_t right,
                                       int32_t more, uint16_t *out)
{
  const int32_t first = row * w.stride_height - w.top;
  const int32_t high = (rows - 1) * w.stride_height + (w.kernel_height - 1) * w.dilation_height + 1;
  const int32_t channels = w.pixel_bytes / 4;
  const int32_t before = w.left * channels, run = w.width * channels, behind = right * channels;
  for (int32_t y = first; y < first + high; y++) {
    const int32_t outside = y < 0 || y >= w.height;
    for (int32_t i = outside ? before + run + behind : before; i > 0; i--) *out++ = 0;
    if (outside) continue;
    rillet_narrow((const float *)(const void *)rillet_row(w, buffer, y), run, 0, out);
    out += run;
    for (int32_t i = behind; i > 0; i--) *out++ = 0;
  }
  for (int32_t i = 0; i < more; i++) out[i] = 0;
}
#endif
